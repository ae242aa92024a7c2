"""Which of two quantities puts the exponents of all arms on one curve: the one about whose curve they scatter less.

Shape legend: S pairs of neighbouring sizes, R replicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from moefacts.experiments.studies.law_capacity.points import ArmPoint, Step

ARMS_NEEDED = 3  # fewer cannot share a curve
_NUM_REPLICATES = 2000
_TAILS = (2.5, 97.5)
_ROUNDING = 1e-9  # of sums of squares, which may all be 0


@dataclass(frozen=True)
class Collapse:
    """How the scatter about two curves compares.

    Attributes:
        mean: log of the sum of squares about the curve over bits per parameter, over that about the one over N/B/τ.
        interval: its 95% interval (bootstrap over seeds).
        by_bits, by_retention: the scatter about either curve, as a root mean square of exponents.
    """

    mean: float
    interval: tuple[float, float]
    by_bits: float
    by_retention: float


def rising_curve(x_S: np.ndarray, y_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve that never falls and lies nearest to the points, by least squares: ascending x, and y at these."""
    unique_x, place_S, count = np.unique(x_S, return_inverse=True, return_counts=True)
    means = np.bincount(place_S, weights=y_S) / count
    return unique_x, isotonic_regression(means, weights=count).x


def compare_collapse(steps: Sequence[Step]) -> Collapse | None:
    """Compare the two scatters over the steps that have retention times; None if those are of too few arms.

    A replicate draws the seeds of every population size with replacement, the same ones for all arms, since arms share
    people and order. It moves each mean by the drawn seeds' deviations, inflated as a mean of n values needs.
    """
    steps = [step for step in steps if step.has_retention]
    if len({step.low.arm for step in steps}) < ARMS_NEEDED:
        return None
    points = {id(point): point for step in steps for point in (step.low, step.high)}
    ends, scales = _moves(list(points.values()))
    column = {key: place for place, key in enumerate(points)}
    low_S, high_S = ([column[id(getattr(step, which))] for step in steps] for which in ("low", "high"))
    doublings_S = np.array([step.doublings for step in steps])
    exponent_RS = np.array([step.exponent for step in steps]) + (ends[:, high_S] - ends[:, low_S]) / doublings_S
    overdue_RS = np.array([step.log_overdue for step in steps]) - (scales[:, high_S] + scales[:, low_S]) / 2
    bits_S = np.array([step.log_bits for step in steps])
    squares = np.array(
        [
            (_squares(bits_S, exponent_S), _squares(overdue_S, exponent_S))
            for exponent_S, overdue_S in zip(exponent_RS, overdue_RS, strict=True)
        ]
    )
    ratios = np.log(squares[:, 0] / squares[:, 1])
    low, high = np.percentile(ratios[1:], _TAILS)
    by_bits, by_retention = np.sqrt(squares[0] / len(steps))
    return Collapse(float(ratios[0]), (float(low), float(high)), float(by_bits), float(by_retention))


def _squares(x_S: np.ndarray, y_S: np.ndarray) -> float:
    return float(((y_S - np.interp(x_S, *rising_curve(x_S, y_S))) ** 2).sum()) + _ROUNDING


def _moves(points: Sequence[ArmPoint]) -> tuple[np.ndarray, np.ndarray]:
    """How far replicates move the mean log end and retention time of every point: (R, points). The first moves none."""
    random = np.random.default_rng(0)
    drawn = {}
    for size in sorted({point.size for point in points}):
        seeds = sorted({seed for point in points if point.size == size for seed in point.end_of})
        counts = random.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), _NUM_REPLICATES)
        drawn[size] = seeds, np.concatenate([np.ones((1, len(seeds))), counts])
    both = []
    for measure in ("end_of", "time_scale_of"):
        moves = []
        for point in points:
            seeds, counts = drawn[point.size]
            logs = {seed: np.log(value) for seed, value in getattr(point, measure).items()}
            mean, inflation = np.mean(list(logs.values())), np.sqrt(len(logs) / (len(logs) - 1))
            moves.append(counts @ [(logs[seed] - mean) * inflation for seed in seeds] / len(seeds))
        both.append(np.stack(moves, axis=1))
    return both[0], both[1]
