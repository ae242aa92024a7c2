"""Figure H: a few people are shown far more often than the rest. Does it help everybody?"""

from collections.abc import Sequence
from functools import partial

from moefacts.analysis.comparison import paired_difference
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, cannot_tell
from moefacts.experiments.studies._arms import (
    END,
    EVALUATION,
    LOSS,
    UNIFORM,
    Arms,
    arm_findings,
    arm_runs,
    difference_claim,
    sampling,
)
from moefacts.experiments.studies._paired import decide_paired
from moefacts.experiments.studies._trained import final_claim
from moefacts.experiments.studies._units import ACCURACY_POINTS
from moefacts.runs import keys

_STEPS = {"laptop": {1024: 1000}, "paper": {64000: 16000, 128000: 16000}}
_SEEDS = 6
KNOWN = 0.05  # with less accuracy than this, a run was too short to show of whom it knows more
# (n, m): one in n people is a celebrity, who is m times as likely to be shown as any of the rest.
_CELEBRITIES = ((16, 8), (16, 32), (4, 4), (4, 16))


def arm_name(share: int, weight: int) -> str:
    """The name of the arm in which one in ``share`` people is shown ``weight`` times as often as any other."""
    return f"1/{share} of the people, ×{weight}"


MAIN = arm_name(16, 8)  # the study's choice in Figure P: 8k of 128k people


def _grid(scale: str) -> list[GridRun]:
    runs = []
    for size, steps in _STEPS[scale].items():
        arms = {UNIFORM: sampling(UNIFORM)} | {
            arm_name(share, weight): sampling("celebrities", num_celebrities=size // share, celebrity_weight=weight)
            for share, weight in _CELEBRITIES
        }
        runs += arm_runs(scale, arms, size, _SEEDS, f"training.steps={steps}", *EVALUATION[scale])
    return runs


def final_in_bucket(run: FinishedRun, bucket: str, measure: str = keys.ATTRIBUTE_ACCURACY) -> float | None:
    """A measure of the people in one bucket at the last evaluation; None if the run has no such bucket."""
    if not run.record.has_curve(measure, bucket=bucket):
        return None
    return float(run.record.curve(measure, bucket=bucket).iloc[-1])


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare every choice of celebrities with uniform sampling, and celebrities with the rest."""
    findings = arm_findings(runs, UNIFORM, "Celebrities", "Loss and accuracy weigh everybody equally.")
    arms, rows = Arms(runs), []
    for size in arms.sizes:
        for arm in arms.names:
            members = arms.members(arm, size)
            means = [estimate([final_in_bucket(run, bucket) for run in members]) for bucket in ("celebrities", "rest")]
            if arm != UNIFORM and members:
                rows.append([f"{size:,}", arm, *("–" if mean is None else mean.text() for mean in means)])
    table = Table("Final accuracy", ["people", "arm", "celebrities", "the rest"], rows)
    return Findings(findings.values, [*findings.tables, table], findings.figures, findings.evidence)


def _known_first(arms: Arms) -> Verdict:
    celebrities, rest = (
        {
            (run.labels["arm"], run.labels["size"], run.seed): final_in_bucket(run, bucket)
            for run in arms.runs
            if run.labels["arm"] != UNIFORM
        }
        for bucket in ("celebrities", "rest")
    )
    known = [max(celebrities[key] or 0.0, rest[key] or 0.0) for key in celebrities]
    if early := sum(share < KNOWN for share in known):
        return cannot_tell(f"in {early} of {len(known)} runs less than {KNOWN:.0%} is known of either")
    return decide_paired(paired_difference(celebrities, rest), partial(above, bound=0.0))


_NONE = "no number published"
_CLAIMS = (
    difference_claim("A few celebrities end everybody's plateau earlier", _NONE, END, MAIN, UNIFORM),
    final_claim("With a few celebrities, the loss over all people ends lower", _NONE, LOSS, MAIN, UNIFORM),
    Claim(
        "More is known of celebrities than of the rest",
        _NONE,
        "Difference in final accuracy, celebrities minus the rest of the same run, averaged over all runs with "
        "celebrities. Holds if its 95% interval lies above 0; does not hold if it lies below; cannot tell otherwise, "
        f"or if in some run less than {KNOWN:.0%} is known of either.",
        _known_first,
        unit=ACCURACY_POINTS,
    ),
)

STUDY = Study(
    name="celebrities",
    title="Does it help everybody when a few people are shown far more often?",
    figure="Figure H",
    grids={scale: _grid(scale) for scale in _STEPS},
    claims=dict.fromkeys(_STEPS, _CLAIMS),
    examine=examine,
)
