"""The trough of an accuracy curve: whether it fell, how deep, and whether it rose again, beyond its error.

Shape legend: T evaluations, the first of them before training.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

NO_FALL, RECOVERS, NO_RECOVERY = "no fall", "recovers", "no recovery"
_LEVEL = 0.05  # the chance of a fall where there is none, over all evaluations of a run together


@dataclass(frozen=True)
class Trough:
    """The lowest point after a fall, and the highest point after that.

    A fall or rise counts if it is larger than z·√(e₁² + e₂²) with the standard errors e of its two evaluations. Any of
    the n evaluations could have been the lowest one, so z is the quantile of the normal distribution at 1 − 0.05 / n
    (Bonferroni). All evaluations use the same biographies, so the error of a difference is smaller than that, and a
    small fall may be missed rather than invented.

    Attributes:
        status: "no fall" if no evaluation is below the first one by more than the error, else "recovers" or
            "no recovery".
        index: the evaluation of the trough; None without a fall. If accuracy recovers, it is the fallen evaluation with
            the largest later rise, max(a_t, a_t+1, …) − a_t. If not, it is the lowest one. The two differ only where
            accuracy erodes to below the trough after having recovered.
        top: the highest evaluation from ``index`` on; None without a fall.
        lowest: the lowest evaluation, whether or not it is a fall.
        margin: the error beyond which ``lowest`` would be a fall.
        rise_margin: the error beyond which the rise from ``index`` to ``top`` is a recovery; None without a fall.
        erosion_margin: the error beyond which the fall from ``top`` to the end is erosion; None without a fall.
    """

    status: str
    index: int | None
    top: int | None
    lowest: int
    margin: float
    rise_margin: float | None = None
    erosion_margin: float | None = None


def find_trough(accuracy_T: np.ndarray, error_T: np.ndarray) -> Trough:
    """Find the trough of a curve of at least one accuracy, whose standard errors are ``error_T``."""
    quantile = float(norm.ppf(1 - _LEVEL / max(len(accuracy_T) - 1, 1)))

    def margin(one: int | np.ndarray, other: int | np.ndarray) -> np.ndarray:
        return quantile * np.hypot(error_T[one], error_T[other])

    place_T, lowest = np.arange(len(accuracy_T)), int(np.argmin(accuracy_T))
    has_fallen_T = accuracy_T[0] - accuracy_T > margin(0, place_T)
    if not has_fallen_T.any():
        return Trough(NO_FALL, None, None, lowest, float(margin(0, lowest)))
    top_T = np.array([place + int(np.argmax(accuracy_T[place:])) for place in place_T])
    rise_T = accuracy_T[top_T] - accuracy_T
    recovers_T = has_fallen_T & (rise_T > margin(place_T, top_T))
    status, index = NO_RECOVERY, lowest
    if recovers_T.any():
        status, index = RECOVERS, int(np.argmax(np.where(recovers_T, rise_T, -np.inf)))
    top = int(top_T[index])
    margins = (float(margin(one, other)) for one, other in ((0, lowest), (index, top), (top, len(accuracy_T) - 1)))
    return Trough(status, index, top, lowest, *margins)
