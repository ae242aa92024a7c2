"""Moments of training, given by a run's phases, and twins that use the attention of such a moment.

A fixed step is in another phase at another population size, model or seed. A moment is in the same phase everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from moefacts.analysis.phases import phase_measures
from moefacts.analysis.plateau_end import REACHED
from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.reader import Run

TOLERANCE = 0.05  # a checkpoint this near to a moment is good enough, as a share of the plateau's end or of the moment


@dataclass(frozen=True)
class Moment:
    """The step ``of_start`` times the start plus ``of_end`` times the end of a run's plateau.

    Attributes:
        name: what it is called in the names of arms.
        of_start, of_end: the factors.
    """

    name: str
    of_start: float
    of_end: float

    def step(self, plateau_start: float, plateau_end: float) -> float:
        """The moment in a run whose plateau lasts from ``plateau_start`` to ``plateau_end``, in steps."""
        return self.of_start * plateau_start + self.of_end * plateau_end


def on_plateau(share: float) -> Moment:
    """The moment when ``share`` of the plateau has passed: 0 is its start, 1 its end."""
    return Moment(f"{share:.0%} into the plateau", 1 - share, share)


def plateau_ends(multiple: float) -> Moment:
    """The moment ``multiple`` times as far from the start of training as the plateau's end."""
    return Moment(f"{multiple:g} plateau ends", 0.0, multiple)


def plateau(run: Run) -> tuple[float, float]:
    """The steps at which the plateau of ``run`` starts and ends, interpolated.

    Raises:
        UserError: it has no start, or no end that can be determined.
    """
    measures = phase_measures(run)
    start, end = measures["plateau_start"], measures["plateau_end_interpolated"]
    if start is None:
        raise UserError("the reference has no plateau start: its loss never came near the baseline")
    if measures["plateau_end_status"] != REACHED or end is None:
        raise UserError(f"the reference has no plateau end: {measures['plateau_end_reason']}")
    return start, end


def checkpoint_at(run: Run, moment: Moment) -> int:
    """The step of the checkpoint of ``run`` that is nearest to ``moment``.

    Raises:
        UserError: the run has no plateau (``plateau``), or the nearest checkpoint is further away than ``TOLERANCE``.
    """
    start, end = plateau(run)
    wanted = moment.step(start, end)
    nearest = min(layout.checkpoint_steps(run.path), key=lambda step: abs(step - wanted), default=None)
    if nearest is None or abs(nearest - wanted) > TOLERANCE * max(wanted, end):
        what = "no checkpoint" if nearest is None else f"none nearer than that of step {nearest:,}"
        raise UserError(f"the reference has {what} for step {wanted:,.0f}, {moment.name}")
    return nearest


@dataclass(frozen=True)
class AttentionOf:
    """Settings of a twin from the run whose twin it is, which it needs first (``GridRun.settings_from``).

    Attributes:
        moment: when the run had the attention that the twin uses.
        frozen: whether the twin uses its own attention until then.
    """

    moment: Moment
    frozen: bool = False

    def __call__(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """The overrides that patch the attention of the only one of ``runs``."""
        (reference,) = runs
        return self.at(checkpoint_at(reference, self.moment))

    def at(self, step: int) -> tuple[str, ...]:
        """The overrides that patch the attention of ``step``."""
        return (f"patching.reference_step={step}", *([f"patching.start={step}"] if self.frozen else []))
