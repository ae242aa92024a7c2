"""Which of three laws describes noisy numbers best, by AICc (Burnham and Anderson 2002, sections 2.4 and 2.6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

POWER, LINEAR, OFFSET_POWER = "c·N^b", "T0 + c·N", "T0 + c·N^b"
SUBSTANTIAL = 2.0  # an AICc that is higher by less than this is still substantially supported
_NUM_PARAMETERS = {POWER: 3, LINEAR: 3, OFFSET_POWER: 4}  # the scatter is one of them
_SMALLEST_SQUARE = 1e-12  # per number, in squared logs; smaller residuals are rounding
_STARTS = (0.01, 0.3, 0.8)  # first guesses of T0, as shares of the smallest number


@dataclass(frozen=True)
class FittedLaw:
    """A law T0 + c·N^b fitted in logs by least squares, all of whose residuals have one scatter.

    Attributes:
        formula: ``POWER``, ``LINEAR`` or ``OFFSET_POWER``.
        t0: the offset, which is not negative: time that does not depend on N. 0 for a power law.
        c: the prefactor.
        b: the exponent; 1 for a linear law.
        squares: the sum of squared residuals.
        aicc: n·ln(squares / n) + 2k + 2k(k + 1) / (n − k − 1) for n numbers and k parameters.
    """

    formula: str
    t0: float
    c: float
    b: float
    squares: float
    aicc: float


def compare_laws(sizes: Sequence[float], values: Sequence[float]) -> dict[str, FittedLaw] | None:
    """Fit the three laws to one value per run; None with too few runs or sizes for AICc.

    Args:
        sizes: the N of every run.
        values: the number of every run, positive.
    """
    if len(values) < max(_NUM_PARAMETERS.values()) + 2 or len(set(sizes)) < 3:
        return None
    scale, log_y = np.exp(np.mean(np.log(sizes))), np.log(np.asarray(values, float))
    x = np.asarray(sizes, float) / scale  # so that c and b are nearly independent
    fitted = {}
    laws = {POWER: _power, LINEAR: _linear, OFFSET_POWER: _offset_power}
    for formula, fit in laws.items():
        t0, log_c, b = fit(x, log_y)
        squares = float((_residuals(t0, log_c, b, x, log_y) ** 2).sum())
        aicc = _aicc(squares, len(values), _NUM_PARAMETERS[formula])
        fitted[formula] = FittedLaw(formula, t0, float(np.exp(log_c) / scale**b), b, squares, aicc)
    return fitted


def _aicc(squares: float, count: int, num_parameters: int) -> float:
    variance = max(squares / count, _SMALLEST_SQUARE)
    correction = 2 * num_parameters * (num_parameters + 1) / (count - num_parameters - 1)
    return float(count * np.log(variance) + 2 * num_parameters + correction)


def _residuals(t0: float, log_c: float, b: float, x: np.ndarray, log_y: np.ndarray) -> np.ndarray:
    return np.log(t0 + np.exp(log_c) * x**b) - log_y


def _power(x: np.ndarray, log_y: np.ndarray) -> tuple[float, float, float]:
    b, log_c = np.polyfit(np.log(x), log_y, 1)
    return 0.0, float(log_c), float(b)


def _linear(x: np.ndarray, log_y: np.ndarray) -> tuple[float, float, float]:
    smallest = np.exp(log_y.min())
    starts = [(share, np.mean(np.log(np.exp(log_y) - share * smallest * 0.99) - np.log(x))) for share in _STARTS]
    share, log_c = _best(lambda p: _residuals(p[0] * smallest, p[1], 1.0, x, log_y), starts)
    return float(share * smallest), float(log_c), 1.0


def _offset_power(x: np.ndarray, log_y: np.ndarray) -> tuple[float, float, float]:
    smallest = np.exp(log_y.min())
    starts = []
    for share in _STARTS:
        b, log_c = np.polyfit(np.log(x), np.log(np.exp(log_y) - share * smallest * 0.99), 1)
        starts.append((share, log_c, b))
    share, log_c, b = _best(lambda p: _residuals(p[0] * smallest, p[1], p[2], x, log_y), starts)
    return float(share * smallest), float(log_c), float(b)


def _best(residuals, starts: Sequence[tuple[float, ...]]) -> np.ndarray:
    """The least-squares parameters, of which the first, the share of the smallest number, lies between 0 and 1."""
    low, high = np.full(len(starts[0]), -np.inf), np.full(len(starts[0]), np.inf)
    low[0], high[0] = 0.0, 1.0
    found = [least_squares(residuals, start, bounds=(low, high), xtol=1e-12, ftol=1e-12) for start in starts]
    return min(found, key=lambda one: one.cost).x
