"""Fit a power law y = a·x^b to noisy points: least squares in log-log, intervals by the bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from moefacts.analysis.seed_scatter import seed_moves

NUM_REPLICATES = 10_000
_SEED = 0  # seeds the bootstrap, so that the same runs give the same digits


@dataclass(frozen=True)
class Point:
    """Everything measured at one x.

    Attributes:
        x: a positive number.
        values: positive numbers, one per seed.
        standard_errors: of each value, from its own measurement alone (how noisy the evaluations are).
        seeds: the seed of each value. Values of one seed at several x are not independent. Empty if no seed is known,
            which means that all values are.
    """

    x: float
    values: Sequence[float]
    standard_errors: Sequence[float]
    seeds: Sequence[int] = ()

    @property
    def mean(self) -> float:
        """The geometric mean over seeds, to which the law is fitted."""
        return float(stats.gmean(self.values))


@dataclass(frozen=True)
class PowerLaw:
    """A fitted law y = a·x^b with 95% bootstrap intervals.

    Attributes:
        residuals: log(measured / law) at each point.
        bend: how much the local exponent grows with every doubling of x, from the parabola through the points in
            log-log; 0 for a power law.
        replicates: log a and b of every replicate, shape (NUM_REPLICATES, 2).
    """

    a: float
    b: float
    r_squared: float
    a_interval: tuple[float, float]
    b_interval: tuple[float, float]
    r_squared_interval: tuple[float, float]
    residuals: tuple[float, ...]
    bend: float
    bend_interval: tuple[float, float]
    replicates: np.ndarray

    def at(self, x: float | np.ndarray) -> np.ndarray:
        """The law's value at ``x``."""
        return self.a * np.power(x, self.b)

    def interval_at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The 95% interval of the law's value at every ``x``."""
        lines = self.replicates[:, :1] + self.replicates[:, 1:] * np.log(x)[None, :]
        low, high = np.percentile(lines, (2.5, 97.5), axis=0)
        return np.exp(low), np.exp(high)


def fit_power_law(points: Sequence[Point], num_replicates: int = NUM_REPLICATES) -> PowerLaw:
    """Fit a·x^b to the geometric means of ``points``.

    A replicate moves every value by the noise of its evaluations and by the deviation of a seed, drawn with
    replacement, from its size's mean in logs. Deviations are inflated by sqrt(n / (n - 1)), since a mean of n values
    absorbs part of them.

    - If no seed is shared by two sizes, every size draws from its own deviations. A size with one seed has none, and
      draws from those of all other sizes.
    - If seeds are shared, they are clusters: a replicate draws seeds once, for all sizes. Where a size lacks a drawn
      seed or has only one, the seed's deviation at another size, drawn anew, stands in for it.
    - If no size has two seeds, the deviations are the residuals about the law, inflated by sqrt(P / (P - 2)) for P
      sizes. The scatter over seeds is then not known apart from how badly the law fits, and the intervals hold both.

    The interval of R² leans low, because a replicate carries the seeds' scatter twice.

    Raises:
        ValueError: there are fewer than three points.
    """
    if len(points) < 3:
        raise ValueError(f"a power law needs at least three sizes, not {len(points)}")
    log_x = np.log([point.x for point in points])
    log_y = np.log([point.mean for point in points])
    b, log_a, r_squared = (float(column[0]) for column in _lines(log_x, log_y[None]))
    random = np.random.default_rng(_SEED)
    residuals = log_y - (log_a + b * log_x)
    logs, seeds = [np.log(point.values) for point in points], [point.seeds for point in points]
    moves = seed_moves(logs, seeds, residuals, num_replicates, random) + _noise(points, num_replicates, random)
    slopes, intercepts, shares = _lines(log_x, log_y + moves)
    bends = _bends(log_x, np.concatenate([log_y[None], log_y + moves]))
    return PowerLaw(
        a=float(np.exp(log_a)),
        b=b,
        r_squared=r_squared,
        a_interval=_interval(np.exp(intercepts)),
        b_interval=_interval(slopes),
        r_squared_interval=_interval(shares),
        residuals=tuple(float(r) for r in residuals),
        bend=float(bends[0]),
        bend_interval=_interval(bends[1:]),
        replicates=np.stack([intercepts, slopes], axis=1),
    )


def _lines(log_x: np.ndarray, log_y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes, intercepts and R² of the least-squares lines through the rows of ``log_y``."""
    x = log_x - log_x.mean()
    y = log_y - log_y.mean(axis=1, keepdims=True)
    slopes = y @ x / (x @ x)
    left = ((y - slopes[:, None] * x) ** 2).sum(axis=1)
    total = (y**2).sum(axis=1)
    shares = 1 - np.divide(left, total, out=np.ones_like(left), where=total > 0)
    return slopes, log_y.mean(axis=1) - slopes * log_x.mean(), shares


def _bends(log_x: np.ndarray, log_y: np.ndarray) -> np.ndarray:
    """The growth of the local exponent per doubling of x, from least-squares parabolas through the rows of ``log_y``.

    It is twice the second coefficient of the parabola, times log 2.
    """
    return 2 * np.polyfit(log_x, log_y.T, 2)[0] * np.log(2)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _noise(points: Sequence[Point], num_replicates: int, random: np.random.Generator) -> np.ndarray:
    """How far the noise of evaluations moves every replicate's means, in logs: one row per replicate."""
    relative = [np.asarray(point.standard_errors) / np.asarray(point.values) for point in points]
    noise = [(one * random.standard_normal((num_replicates, len(one)))).mean(axis=1) for one in relative]
    return np.stack(noise, axis=1)
