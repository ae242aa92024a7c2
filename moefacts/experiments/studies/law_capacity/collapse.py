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
        mean: log of the sum of squares about the curve over bits per total parameter, over that about the one over bits
            per active parameter.
        interval: its 95% interval (bootstrap over seeds).
        by_total, by_active: the scatter about either curve, as a root mean square of exponents.
    """

    mean: float
    interval: tuple[float, float]
    by_total: float
    by_active: float


def rising_curve(x_S: np.ndarray, y_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve that never falls and lies nearest to the points, by least squares: ascending x, and y at these."""
    unique_x, place_S, count = np.unique(x_S, return_inverse=True, return_counts=True)
    means = np.bincount(place_S, weights=y_S) / count
    return unique_x, isotonic_regression(means, weights=count).x


def compare_collapse(steps: Sequence[Step]) -> Collapse | None:
    """Compare the two scatters; None if the steps are of too few arms, or if no arm has the two quantities apart.

    A replicate draws the seeds of every population size with replacement, the same ones for all arms, since arms share
    people and order. It moves each mean by the drawn seeds' deviations, inflated as a mean of n values needs.
    """
    is_mixed = any(step.low.active != step.low.total for step in steps)
    if len({step.low.arm for step in steps}) < ARMS_NEEDED or not is_mixed:
        return None
    points = {id(point): point for step in steps for point in (step.low, step.high)}
    ends = _moves(list(points.values()))
    column = {key: place for place, key in enumerate(points)}
    low_S, high_S = ([column[id(getattr(step, which))] for step in steps] for which in ("low", "high"))
    doublings_S = np.array([step.doublings for step in steps])
    exponent_RS = np.array([step.exponent for step in steps]) + (ends[:, high_S] - ends[:, low_S]) / doublings_S
    total_S, active_S = (np.array([getattr(step, name) for step in steps]) for name in ("log_bits", "log_bits_active"))
    squares = np.array([(_squares(total_S, y_S), _squares(active_S, y_S)) for y_S in exponent_RS])
    ratios = np.log(squares[:, 0] / squares[:, 1])
    low, high = np.percentile(ratios[1:], _TAILS)
    by_total, by_active = np.sqrt(squares[0] / len(steps))
    return Collapse(float(ratios[0]), (float(low), float(high)), float(by_total), float(by_active))


def _squares(x_S: np.ndarray, y_S: np.ndarray) -> float:
    return float(((y_S - np.interp(x_S, *rising_curve(x_S, y_S))) ** 2).sum()) + _ROUNDING


def _moves(points: Sequence[ArmPoint]) -> np.ndarray:
    """How far replicates move the mean log end of every point: (R, points). The first moves none."""
    random = np.random.default_rng(0)
    drawn = {}
    for size in sorted({point.size for point in points}):
        seeds = sorted({seed for point in points if point.size == size for seed in point.end_of})
        counts = random.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), _NUM_REPLICATES)
        drawn[size] = seeds, np.concatenate([np.ones((1, len(seeds))), counts])
    moves = []
    for point in points:
        seeds, counts = drawn[point.size]
        logs = {seed: np.log(end) for seed, end in point.end_of.items()}
        mean, inflation = np.mean(list(logs.values())), np.sqrt(len(logs) / (len(logs) - 1))
        moves.append(counts @ [(logs[seed] - mean) * inflation for seed in seeds] / len(seeds))
    return np.stack(moves, axis=1)
