"""The end of a loss curve's plateau or the like, with its uncertainty, or why it cannot be determined."""

from dataclasses import dataclass

import numpy as np

from moefacts.runs.thresholds import crossing, first_below

REACHED, NOT_REACHED, CANNOT_TELL = "reached", "not reached", "cannot tell"
SPARSE_SHARE = 0.25  # evaluations further apart than this share of the plateau's end are too sparse
WIDE_SHARE = 0.5  # an interval wider than this share of the plateau's end is too wide
_STAYS = 3  # this many evaluations in a row below the threshold count as staying below it
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Words:
    """How to speak of a crossing. The defaults are those of a plateau's end.

    Attributes:
        curve: what crosses the level.
        crosses: what it does there, in the past tense.
        beyond: where it is afterwards.
        level: the level.
        event: the crossing, as a clause.
    """

    curve: str = "the loss"
    crosses: str = "fell below the threshold"
    beyond: str = "below the threshold"
    level: str = "the threshold"
    event: str = "the plateau ends"


@dataclass(frozen=True)
class PlateauEnd:
    """The end of a plateau, or another crossing of a level from above, in steps.

    Attributes:
        status: "reached", "not reached" (at the end of the curve), or "cannot tell".
        reason: why the status is not "reached"; empty when it is.
        first_below: first evaluation below the threshold, the study's own criterion (section 2); None if there is none.
        step: where the straight line that leads to that evaluation crosses the threshold; only when "reached".
        low: where the curve minus 1.96 standard errors first crosses the threshold; only when "reached".
        high: where the curve plus 1.96 standard errors crosses the threshold and stays below; only when "reached".
        earliest, latest: steps between which the end lies, whatever the status; both are ``step`` when "reached". Else
            they are evaluations, since nothing is known of the curve between these; ``latest`` is None when the end may
            lie beyond the curve.
    """

    status: str
    reason: str
    first_below: int | None
    step: float | None = None
    low: float | None = None
    high: float | None = None
    earliest: float = 0.0
    latest: float | None = None

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
    return find_fall(step, loss, standard_error, threshold * baseline, Words())


def find_fall(
    step: np.ndarray, curve: np.ndarray, standard_error: np.ndarray, level: float, words: Words
) -> PlateauEnd:
    """Find where ``curve`` falls below ``level``, as ``find_plateau_end`` does; ``words`` are those of the reasons."""
    margin = NORMAL_95 * standard_error
    first = first_below(curve, level)
    first_step = None if first is None else int(step[first])
    earliest = first_below(curve - margin, level)
    if earliest is None:
        reason = f"{words.curve} never {words.crosses}"
        return PlateauEnd(NOT_REACHED, reason, first_step, earliest=float(step[-1]))
    if earliest == 0:
        reason = f"{words.curve} begins {words.beyond}, or within noise of it"
        return PlateauEnd(CANNOT_TELL, reason, first_step)
    latest = _stays_below(curve + margin, level)
    before = float(step[earliest - 1])
    if first is None or latest is None:
        reason = f"{words.curve} ends within noise of {words.level}"
        return PlateauEnd(CANNOT_TELL, reason, first_step, earliest=before)
    end = crossing(step, curve, level, first)
    low = min(end, crossing(step, curve - margin, level, earliest))
    high = max(end, crossing(step, curve + margin, level, latest))
    gap = step[first] - step[first - 1]
    if gap > SPARSE_SHARE * end:
        reason = f"evaluations are too sparse: {gap} steps apart where {words.event}"
        return PlateauEnd(CANNOT_TELL, reason, first_step, earliest=before, latest=float(step[latest]))
    if high - low > WIDE_SHARE * end:
        reason = f"{words.curve} hovers within noise of {words.level} between steps {low:.0f} and {high:.0f}"
        return PlateauEnd(CANNOT_TELL, reason, first_step, earliest=before, latest=float(step[latest]))
    return PlateauEnd(REACHED, "", first_step, end, low, high, earliest=end, latest=end)


def _stays_below(curve: np.ndarray, level: float) -> int | None:
    """The first evaluation from which ``curve`` stays below ``level`` for ``_STAYS`` evaluations or until its end."""
    is_below = curve < level
    for start in np.flatnonzero(is_below):
        if is_below[start : start + _STAYS].all():
            return int(start)
    return None
