"""How far seeds scatter: replicates of the means over seeds at several sizes, from the seeds' own deviations."""

from collections.abc import Sequence

import numpy as np


def seed_moves(
    logs: Sequence[np.ndarray],
    seeds: Sequence[Sequence[int]],
    residuals: np.ndarray,
    num_replicates: int,
    random: np.random.Generator,
) -> np.ndarray:
    """How far replicates of every size's mean lie from that mean: one row per replicate, one column per size.

    ``fit_power_law`` says what is drawn.

    Args:
        logs: for every size, the logarithm of its value with each seed.
        seeds: for every size, the seed of each value; empty where it is not known.
        residuals: how far each size's mean lies from the fitted law, in logs. Used if no size has two seeds.
        num_replicates: the number of rows.
        random: draws the seeds.
    """
    deviations = [_deviations(values) for values in logs]
    pooled = np.concatenate(deviations)
    if not len(pooled):
        pooled = residuals * np.sqrt(len(logs) / (len(logs) - 2))
    elif _are_shared(seeds):
        return _clusters(logs, seeds, deviations, num_replicates, random)
    drawn = [
        random.choice(own if len(own) else pooled, (num_replicates, len(values)))
        for own, values in zip(deviations, logs, strict=True)
    ]
    return np.stack([one.mean(axis=1) for one in drawn], axis=1)


def _deviations(values: np.ndarray) -> np.ndarray:
    """The deviations of several seeds from their mean, inflated to have the variance of seeds; none for one seed."""
    count = len(values)
    return (values - values.mean()) * np.sqrt(count / (count - 1)) if count > 1 else np.zeros(0)


def _are_shared(seeds: Sequence[Sequence[int]]) -> bool:
    every = [seed for at_size in seeds for seed in at_size]
    return len(set(every)) < len(every)


def _clusters(
    logs: Sequence[np.ndarray],
    seeds: Sequence[Sequence[int]],
    deviations: Sequence[np.ndarray],
    num_replicates: int,
    random: np.random.Generator,
) -> np.ndarray:
    """Replicates in which the sizes share the drawn seeds: the first n draws are those of a size with n seeds."""
    names = sorted({seed for at_size in seeds for seed in at_size})
    known = [dict(zip(at, own, strict=True)) if len(own) else {} for at, own in zip(seeds, deviations, strict=True)]
    everywhere = {name: [by_seed[name] for by_seed in known if name in by_seed] for name in names}
    drawn = random.choice(names, (num_replicates, max(map(len, logs))))
    moves = []
    for values, by_seed in zip(logs, known, strict=True):
        drawn_here = drawn[:, : len(values)]
        moved = np.zeros(drawn_here.shape)
        for name in names:
            is_drawn = drawn_here == name
            stand_ins = [by_seed[name]] if name in by_seed else everywhere[name] or np.concatenate(deviations)
            moved[is_drawn] = random.choice(stand_ins, is_drawn.sum())
        moves.append(moved.mean(axis=1))
    return np.stack(moves, axis=1)
