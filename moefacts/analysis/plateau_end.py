"""The end of a loss curve's plateau, with its uncertainty, or why it cannot be determined."""

from dataclasses import dataclass

import numpy as np

from moefacts.runs.thresholds import crossing, first_below

REACHED, NOT_REACHED, CANNOT_TELL = "reached", "not reached", "cannot tell"
SPARSE_SHARE = 0.25  # evaluations further apart than this share of the plateau's end are too sparse
WIDE_SHARE = 0.5  # an interval wider than this share of the plateau's end is too wide
_STAYS = 3  # this many evaluations in a row below the threshold count as staying below it
NORMAL_95 = 1.96


@dataclass(frozen=True)
class PlateauEnd:
    """The end of a plateau, in steps.

    Attributes:
        status: "reached", "not reached" (at the end of the curve), or "cannot tell".
        reason: why the status is not "reached"; empty when it is.
        first_below: first evaluation below the threshold, the study's own criterion (section 2); None if there is none.
        step: where the straight line that leads to that evaluation crosses the threshold; only when "reached".
        low: where the curve minus 1.96 standard errors first crosses the threshold; only when "reached".
        high: where the curve plus 1.96 standard errors crosses the threshold and stays below; only when "reached".
    """

    status: str
    reason: str
    first_below: int | None
    step: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def standard_error(self) -> float:
        """Standard error of ``step`` from the noise of the evaluations alone; 0 unless "reached"."""
        return 0.0 if self.low is None or self.high is None else (self.high - self.low) / (2 * NORMAL_95)


def find_plateau_end(
    step: np.ndarray, loss: np.ndarray, standard_error: np.ndarray, baseline: float, threshold: float
) -> PlateauEnd:
    """Find where ``loss`` leaves its plateau for good, with a 95% interval from the noise of its evaluations.

    All evaluations of a run use the same biographies, so their errors shift the whole curve. The interval therefore
    lies between the crossings of the lower and of the upper bound of the curve.

    Args:
        step: steps of the evaluations, ascending.
        loss: attribute loss of seen people at each evaluation, in nats.
        standard_error: standard error of each loss, in nats.
        baseline: no-knowledge baseline in nats.
        threshold: the plateau has ended below this fraction of the baseline.
    """
    level, margin = threshold * baseline, NORMAL_95 * standard_error
    first = first_below(loss, level)
    first_step = None if first is None else int(step[first])
    earliest = first_below(loss - margin, level)
    if earliest is None:
        return PlateauEnd(NOT_REACHED, "the loss never fell below the threshold", first_step)
    if earliest == 0:
        return PlateauEnd(CANNOT_TELL, "the loss begins below the threshold, or within noise of it", first_step)
    latest = _stays_below(loss + margin, level)
    if first is None or latest is None:
        return PlateauEnd(CANNOT_TELL, "the loss ends within noise of the threshold", first_step)
    end = crossing(step, loss, level, first)
    gap = step[first] - step[first - 1]
    if gap > SPARSE_SHARE * end:
        reason = f"evaluations are too sparse: {gap} steps apart where the plateau ends"
        return PlateauEnd(CANNOT_TELL, reason, first_step)
    low = min(end, crossing(step, loss - margin, level, earliest))
    high = max(end, crossing(step, loss + margin, level, latest))
    if high - low > WIDE_SHARE * end:
        reason = f"the loss hovers within noise of the threshold between steps {low:.0f} and {high:.0f}"
        return PlateauEnd(CANNOT_TELL, reason, first_step)
    return PlateauEnd(REACHED, "", first_step, end, low, high)


def _stays_below(curve: np.ndarray, level: float) -> int | None:
    """The first evaluation from which ``curve`` stays below ``level`` for ``_STAYS`` evaluations or until its end."""
    is_below = curve < level
    for start in np.flatnonzero(is_below):
        if is_below[start : start + _STAYS].all():
            return int(start)
    return None
