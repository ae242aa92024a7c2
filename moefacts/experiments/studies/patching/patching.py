"""Figures 3, left, and D: what attention from another moment of training does to the plateau."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from moefacts.analysis.figures import DrawFigure
from moefacts.analysis.groups import Group
from moefacts.analysis.plateau_end import NOT_REACHED
from moefacts.experiments.engine.study import Findings, FinishedRun, Study
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS, Claim, Verdict, cannot_tell
from moefacts.experiments.studies._arms import END, LOSS, Arms, arm_findings, difference_claim
from moefacts.experiments.studies._trained import final_claim, open_seeds
from moefacts.experiments.studies.patching.grids import MOMENTS, OWN, SETTINGS, UNTRAINED, frozen, grid, throughout
from moefacts.experiments.studies.patching.patching_figures import losses_in_order
from moefacts.experiments.studies.patching.patching_tables import control_table, reference_table
from moefacts.experiments.studies.phases import PLATEAU_SHARE, SEEDS_NEEDED, three_phases, why_unclear

# The attention of the claims. The study names steps 500 and 1,000, and all that come after the plateau.
EARLY, AFTER = [throughout(500), throughout(1000)], throughout(8000)


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare every arm with the run that uses its own attention."""
    note = (
        f"The other arms are twins of “{OWN}”, with the same initial weights and samples. From their first step on "
        f"they use the attention that “{OWN}” had at one moment. Frozen arms use their own attention until then."
    )
    findings = arm_findings(runs, OWN, "Patched attention", note)
    arms = findings.evidence
    tables = [*findings.tables, reference_table(arms), control_table(arms)]
    return replace(findings, tables=tables, figures=_figures(arms))


def _figures(arms: Arms) -> dict[str, tuple[str, DrawFigure]]:
    """The figure of every arm's loss, ordered by the moment of its attention. Empty without the unpatched run."""
    groups = {arm: Group(arm, [run.record for run in arms.members(arm)]) for arm in arms.names}
    is_frozen = {frozen(step) for step in MOMENTS}
    panels = {
        "attention of one moment throughout": [groups[arm] for arm in groups if arm != OWN and arm not in is_frozen],
        "own attention until then": [groups[arm] for arm in groups if arm in is_frozen],
    }
    panels = {title: members for title, members in panels.items() if members}
    if OWN not in groups or not panels:
        return {}
    caption = (
        "Attribute loss in held-out templates of twins with patched attention, and below, where it was measured, the "
        "control: the loss on the same biographies with values permuted over the people, which knowledge of persons "
        "cannot lower. Thin lines are single seeds."
    )
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


_GONE = (
    f"Holds if, in every seed of “{AFTER}”, the plateau ends and lasts less than {PLATEAU_SHARE:.0%} of the steps up "
    "to its end; does not hold if, in some seed, it lasts at least so long, or has when training stops. Cannot tell "
    "otherwise, because training stopped too early or its start or end cannot be determined, or with fewer than "
    f"{SEEDS_NEEDED} seeds."
)
_CLAIMS = (
    difference_claim(
        "With attention from after the plateau, the plateau ends earlier", "none published", END, AFTER, OWN
    ),
    Claim("With attention from after the plateau, no plateau is left", "removed", _GONE, partial(_no_plateau, AFTER)),
    *(
        final_claim(f"{arm[0].upper()}{arm[1:]} is worse than untrained attention", "worse", LOSS, arm, UNTRAINED, 1)
        for arm in EARLY
    ),
)

STUDY = Study(
    name="patching",
    title="What does attention from another moment of training do to the plateau?",
    figure="Figures 3, left, and D",
    grids={scale: grid(scale) for scale in SETTINGS},
    claims=dict.fromkeys(SETTINGS, _CLAIMS),
    examine=examine,
)
