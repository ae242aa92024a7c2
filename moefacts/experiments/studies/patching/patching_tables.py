"""Tables of patched twins: which step lent its attention, and the loss beside that of the control."""

from moefacts.analysis.summary import cell, estimate
from moefacts.analysis.table import Table
from moefacts.experiments.studies._arms import Arms
from moefacts.experiments.studies.patching.grids import MOMENTS, OWN, frozen, throughout
from moefacts.runs import keys

_NOTE = (
    "The study's steps are those of its run with 64,000 people, whose plateau ends at step 3,085. Here a moment is "
    "given by where the plateau of the seed's own run starts and ends, and the nearest checkpoint lends its attention. "
    "The distance is the largest over seeds, in steps and as a share of the step."
)
_CONTROL_NOTE = (
    "The control is the loss on the same biographies with every attribute's values permuted over the people: what the "
    "model's statistics are worth without knowledge of persons. The floor is its lowest value over the baseline, and "
    "knowledge is (control − loss) / baseline."
)


_KNOWLEDGE = {
    "plateau_floor": "floor / baseline",
    "knowledge_at_plateau_end": "knowledge at the plateau's end",
    "steps_to_5_knowledge": "5% knowledge (step)",
    "final_knowledge": "final knowledge",
}


def reference_table(arms: Arms) -> Table:
    """For every moment, the step of the study and the checkpoints whose attention was used here."""
    own = {
        run.seed: (run.measures["plateau_start"], run.measures["plateau_end_interpolated"]) for run in arms.members(OWN)
    }
    own = {seed: bounds for seed, bounds in own.items() if None not in bounds}
    rows = []
    for step, moment in MOMENTS.items():
        for arm in (throughout(step), frozen(step)):
            twins = [run for run in arms.members(arm) if run.seed in own]
            used = [run.record.settings.patching.reference_step or 0 for run in twins]
            wanted = [moment.step(*own[run.seed]) for run in twins]
            if used:
                far, share = max((abs(a - b), abs(a - b) / b) for a, b in zip(used, wanted, strict=True))
                steps = ", ".join(f"{one:,}" for one in used)
                rows.append([arm, f"{step:,}", steps, f"{far:.0f} ({share:.1%})"])
    return Table("Moments whose attention is used", ["arm", "study's step", "steps here", "distance"], rows, _NOTE)


def control_table(arms: Arms) -> Table:
    """The final loss of every arm beside that of the control, and what follows from the two."""
    rows = []
    for arm in arms.names:
        members = arms.members(arm)
        controlled = [run.record for run in members if run.record.has_curve(keys.CONTROL_LOSS)]
        final = estimate([run.measures["final_attribute_loss"] for run in members])
        control = estimate([float(record.curve(keys.CONTROL_LOSS).iloc[-1]) for record in controlled])
        knowledge = [
            cell(key, estimate([run.measures[key] for run in members]), bool(controlled)) for key in _KNOWLEDGE
        ]
        rows.append([arm, final.text() if final else "–", control.text() if control else "not measured", *knowledge])
    columns = ["arm", "final attribute loss (nats)", "final control loss (nats)", *_KNOWLEDGE.values()]
    return Table("Loss beside the control", columns, rows, _CONTROL_NOTE)
