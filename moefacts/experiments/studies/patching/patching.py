"""Figures 3, left, and D: what attention from another moment of training does to the plateau."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from moefacts.analysis.figures import DrawFigure
from moefacts.analysis.groups import Group
from moefacts.analysis.plateau_end import NOT_REACHED
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS, Claim, Verdict, cannot_tell
from moefacts.experiments.studies._arms import END, LOSS, Arms, arm_findings, arm_runs, difference_claim
from moefacts.experiments.studies._trained import final_claim, open_seeds
from moefacts.experiments.studies._unseen import UNSEEN_RARELY
from moefacts.experiments.studies.patching.patching_figures import losses_in_order
from moefacts.experiments.studies.phases import PLATEAU_SHARE, SEEDS_NEEDED, three_phases, why_unclear

OWN = "own attention"
# The study's references are 0 and 0.16, 0.32, 0.65, 1.3, 2.6 and 5.2 times its plateau end (3,085 steps at 64,000
# people). The laptop's are the same multiples of 385 steps, the plateau end of 1,024 people (LOG.md), rounded to its
# checkpoints. The last is left out, because it would take twice the steps.
_REFERENCES = {"laptop": (0, 60, 120, 240, 500, 1000), "paper": (0, 500, 1000, 2000, 4000, 8000, 16000)}
_FROZEN = {"laptop": (120, 240, 500), "paper": (500, 1000, 2000, 4000, 8000)}
_SETTINGS = {"laptop": (1024, 1000, 3), "paper": (64000, 16000, 1)}  # people, steps, seeds
_COMMON = {
    "laptop": (
        "evaluation.biographies=1024",
        "evaluation.interval=20",
        UNSEEN_RARELY,
        "checkpoints.interval=20",
        "checkpoints.interval_until=1000",
    ),
    "paper": (
        UNSEEN_RARELY,
        "checkpoints.interval=500",
        "checkpoints.interval_until=16000",
        "training.compile=false",
    ),
}


def from_step(step: int) -> str:
    """The name of the arm that uses the attention of step ``step`` throughout."""
    return f"attention of step {step:,}" if step else "untrained attention"


def frozen_at(step: int) -> str:
    """The name of the arm whose own attention is frozen at step ``step``."""
    return f"attention frozen at step {step:,}"


def _grid(scale: str) -> list[GridRun]:
    size, steps, seeds = _SETTINGS[scale]
    arms: dict[str, tuple[str, ...]] = {OWN: ()}
    arms |= {from_step(step): (f"patching.reference_step={step}",) for step in _REFERENCES[scale]}
    arms |= {frozen_at(step): (f"patching.reference_step={step}", f"patching.start={step}") for step in _FROZEN[scale]}
    needs = dict.fromkeys((arm for arm in arms if arm != OWN), OWN)
    return arm_runs(scale, arms, size, seeds, f"training.steps={steps}", *_COMMON[scale], needs=needs)


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare every arm with the run that uses its own attention."""
    note = (
        f"The other arms are twins of “{OWN}”, with the same initial weights and samples. From their first step on "
        f"they use the attention that “{OWN}” had at one step. Frozen arms use their own attention until that step."
    )
    findings = arm_findings(runs, OWN, "Patched attention", note)
    return replace(findings, figures=_figures(findings.evidence))


def _figures(arms: Arms) -> dict[str, tuple[str, DrawFigure]]:
    """The figure of every arm's loss, ordered by the step of its attention. Empty without the unpatched run."""
    groups = {arm: Group(arm, [run.record for run in arms.members(arm)]) for arm in arms.names}
    is_frozen = {arm: any(arm == frozen_at(step) for steps in _FROZEN.values() for step in steps) for arm in groups}
    panels = {
        "attention of one moment throughout": [groups[arm] for arm in groups if arm != OWN and not is_frozen[arm]],
        "own attention until then": [groups[arm] for arm in groups if is_frozen[arm]],
    }
    panels = {title: members for title, members in panels.items() if members}
    if OWN not in groups or not panels:
        return {}
    caption = "Attribute loss in held-out templates of twins with patched attention. Thin lines are single seeds."
    return {"patching": (caption, partial(losses_in_order, panels, groups[OWN]))}


def _no_plateau(arm: str, arms: Arms) -> Verdict:
    """Decide whether, in every seed of ``arm``, the plateau merges into the first phase."""
    members = arms.members(arm)
    plateaus = [has_plateau(run) for run in members]
    text = f"in {plateaus.count(False)} of {len(members)} seeds"
    if len(members) < SEEDS_NEEDED:
        return cannot_tell(f"{text} of “{arm}”; fewer than {SEEDS_NEEDED} decide nothing")
    if True in plateaus:
        return Verdict(DOES_NOT_HOLD, text)
    unclear = open_seeds(members, why_unclear)
    return cannot_tell(f"{text}; cannot tell with {unclear}") if unclear else Verdict(HOLDS, text)


def has_plateau(run: FinishedRun) -> bool | None:
    """Whether a run's plateau lasts for at least ``PLATEAU_SHARE`` of the steps up to its end.

    A plateau that had lasted so long when training stopped will, whenever it ends. None if neither is known.
    """
    start, last = run.measures["plateau_start"], run.measures["last_step"]
    if run.measures["plateau_end_status"] == NOT_REACHED and start is not None and last - start >= PLATEAU_SHARE * last:
        return True
    return three_phases(run)


def _claims(scale: str) -> tuple[Claim, ...]:
    after, early = from_step(_REFERENCES[scale][-1]), [from_step(step) for step in _REFERENCES[scale][1:3]]
    untrained = from_step(0)
    gone = (
        f"Holds if, in every seed of “{after}”, the plateau ends and lasts less than {PLATEAU_SHARE:.0%} of the steps "
        "up to its end; does not hold if, in some seed, it lasts at least so long, or has when training stops. Cannot "
        "tell otherwise, because training stopped too early or its start or end cannot be determined, or with fewer "
        f"than {SEEDS_NEEDED} seeds."
    )
    return (
        difference_claim(
            "With attention from after the plateau, the plateau ends earlier", "none published", END, after, OWN
        ),
        Claim(
            "With attention from after the plateau, no plateau is left", "removed", gone, partial(_no_plateau, after)
        ),
        *(
            final_claim(
                f"{arm[0].upper()}{arm[1:]} is worse than untrained attention", "worse", LOSS, arm, untrained, 1
            )
            for arm in early
        ),
    )


STUDY = Study(
    name="patching",
    title="What attention from another moment of training does to the plateau",
    figure="Figures 3, left, and D",
    grids={scale: _grid(scale) for scale in _SETTINGS},
    claims={scale: _claims(scale) for scale in _SETTINGS},
    examine=examine,
)
