"""How much less is known of people shown longer ago where the plateau of a run ends, and why this cannot be told."""

from moefacts.analysis.fading import Fading, fading, settling_steps
from moefacts.analysis.retention import person_table
from moefacts.runs.reader import Run

NEAR = 0.15  # a checkpoint this near to the plateau's end, as a share of its step, is at the end


def retention_at_end(run: Run) -> Fading | None:
    """The fit to what the retention probe found at the plateau's end; None if there is nothing to fit.

    It has no floor, so that the time scales of all runs can be compared. ``Fading.is_known`` says whether the time
    scale can be told, and ``why_untold`` why it cannot.
    """
    table = person_table(run, at_end=True)
    if table is None or _checkpoint(run) is None:
        return None
    return fading(table, settling_steps(run), has_floor=False)


def why_untold(run: Run, fit: Fading | None) -> str:
    """Why the time scale at the plateau's end cannot be told; empty if it can. ``fit`` is its ``retention_at_end``."""
    if fit is not None:
        return fit.why
    if run.plateau_end is None:
        return "the plateau did not end"
    if run.retention_at_end is None:
        return "not probed"
    nearest = int(run.retention_at_end["step"].iloc[0])
    return f"the checkpoint nearest to the plateau's end, step {run.plateau_end:,}, is that of step {nearest:,}"


def _checkpoint(run: Run) -> int | None:
    """The probed checkpoint at the plateau's end; None if there is none within ``NEAR`` of it."""
    table, end = run.retention_at_end, run.plateau_end
    if table is None or end is None:
        return None
    step = int(table["step"].iloc[0])
    return step if abs(step - end) <= NEAR * end else None
