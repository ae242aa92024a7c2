"""What the report says of a plateau: when it began and ended, or that its end could not be determined."""

from typing import Any

from moefacts.analysis.groups import Group
from moefacts.analysis.phases import phase_measures
from moefacts.analysis.plateau_end import CANNOT_TELL
from moefacts.analysis.summary import Estimate
from moefacts.runs.reader import Run


def plateau_sentence(group: Group, start: Estimate | None, end: Estimate | None, threshold: float | None) -> str:
    """When the plateau of ``group`` lasted, with an end only where ``undetermined_sentence`` has nothing to say."""
    if start is None:
        return "The attribute loss never came near the no-knowledge baseline."
    began = f"The plateau began at step {start.mean:,.0f}"
    unsure = _unsure(group, threshold)
    if len(group.runs) == 1 and unsure:
        (_, found), *_ = unsure
        if found["plateau_end_latest"] is None:
            return f"{began}; whether and where it ended could not be determined."
        low, high = found["plateau_end_earliest"], found["plateau_end_latest"]
        return f"{began} and ended between steps {low:,.0f} and {high:,.0f}; where exactly could not be determined."
    if unsure:
        return f"{began}; its end could not be determined in {len(unsure)} of {len(group.runs)} runs."
    if end is None:
        return f"{began} and did not end in this run."
    return f"The plateau lasted from step {start.mean:,.0f} to step {end.mean:,.0f}."


def undetermined_sentence(group: Group, threshold: float | None) -> str:
    """Which runs have a plateau whose end could not be determined, and why; empty if none has."""
    unsure = _unsure(group, threshold)
    reasons = "; ".join(f"seed {run.seed}: {found['plateau_end_reason']}" for run, found in unsure)
    text = f"The plateau's end could not be determined in {len(unsure)} of {len(group.runs)} runs ({reasons})."
    return text * bool(unsure)


def _unsure(group: Group, threshold: float | None) -> list[tuple[Run, dict[str, Any]]]:
    measured = [(run, phase_measures(run, threshold)) for run in group.runs]
    return [(run, found) for run, found in measured if found["plateau_end_status"] == CANNOT_TELL]
