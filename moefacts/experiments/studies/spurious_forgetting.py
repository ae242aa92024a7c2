"""Spurious forgetting (Palit et al. 2026): is what new people's facts undo lost, or only out of reach?

Every attribute's values are split at random into two halves. Of the people of pretraining, A have values of the first
half and B of the second. The new people B′ have values of the second half only, the new people C of both. What happens
to A while B′ or C are learned?

Palit et al. train 2,000 people in A, 2,000 in B and 500 in B′ and C, with eight layers of width 512; here it is the
laptop's model with a fraction of the people, and recall is of whole values.
"""

from collections.abc import Callable, Sequence
from functools import partial

from moefacts.analysis.forgetting import forgetting_measures
from moefacts.analysis.forgetting_figures import forgetting_figures
from moefacts.analysis.unit import POINTS, SHARE, Unit
from moefacts.config.overrides import value_text
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below, cannot_tell
from moefacts.experiments.studies._by_arm import ByArm, Measure
from moefacts.experiments.studies._finetuned import NOT_KNOWN, PEOPLE, fine_tuning, kept_when_new_known, pretraining
from moefacts.experiments.studies._paired import decide_paired
from moefacts.runs import keys, tables
from moefacts.runs.reader import Run

_SEEDS, _OLD, _NEW = 5, PEOPLE["laptop"] // 2, 64
FIRST, SECOND = "A", "B"
OTHER_HALF, BOTH_HALVES = "values of B's half", "values of both halves"
_LEARNED = {OTHER_HALF: "B_prime", BOTH_HALVES: "C"}
_COHORTS = {
    FIRST: {"part_of": keys.SEEN, "stop": _OLD, "values": "first"},
    SECOND: {"part_of": keys.SEEN, "start": _OLD, "values": "second"},
    "B_prime": {"part_of": keys.NEW, "stop": _NEW, "values": "second"},
    "C": {"part_of": keys.NEW, "start": _NEW, "stop": 2 * _NEW},
}
_STILL_THERE = 0.8  # of A's facts, by their rank in their own half


def _grid() -> list[GridRun]:
    runs = []
    for seed in seeds_for(PEOPLE["laptop"], _SEEDS):
        first = pretraining("laptop", seed, f"population.cohorts={value_text(_COHORTS)}")
        for arm, learned in _LEARNED.items():
            runs.append(fine_tuning("laptop", first, learned, _COHORTS, {"arm": arm}, old=(FIRST, SECOND)))
    return runs


def lowest_share(run: Run) -> float:
    """The lowest accuracy on A after fine-tuning began, over that before it."""
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, FIRST)
    return float(accuracy.iloc[1:].min() / accuracy.iloc[0])


def recovery(run: Run) -> float:
    """How far the accuracy on A rises again after its trough, over that before fine-tuning; 0 without a trough."""
    measures = forgetting_measures(run)[FIRST]
    return float((measures["recovery"] or 0.0) / measures["accuracy_before"])


def of_shift(column: str, run: Run) -> float | None:
    """A column of the shift probe for A nearest its trough, the mean over attributes; None before it has run."""
    table = run.probed(tables.SHIFT)
    if table is None:
        return None
    rows = table[(table["cohort"] == FIRST) & (table["tested"] == FIRST)]
    return float(rows.loc[rows["step"] == rows["step"].min(), column].mean())


def _brought_back(run: Run) -> float | None:
    left, right = (of_shift(name, run) for name in ("accuracy_common_removed", "accuracy"))
    return None if left is None or right is None else left - right


_COLUMNS: dict[str, Measure] = {
    "A before": lambda run: forgetting_measures(run)[FIRST]["accuracy_before"],
    "lowest": lambda run: float(run.curve(keys.ATTRIBUTE_ACCURACY, FIRST).iloc[1:].min()),
    "highest after": lambda run: forgetting_measures(run)[FIRST].get("accuracy_recovered"),
    "at the end": lambda run: forgetting_measures(run)[FIRST]["accuracy_at_end"],
    "B at the end": lambda run: forgetting_measures(run)[SECOND]["accuracy_at_end"],
    "first in its own half": partial(of_shift, "own_half"),
    "common shift removed": partial(of_shift, "accuracy_common_removed"),
    "common shift only": partial(of_shift, "accuracy_common_only"),
    "random shift": partial(of_shift, "accuracy_random_shift"),
}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure what A and B lose while B′ and C are learned, and how much of it is a shift that all share."""
    arms = ByArm.of_runs(runs)
    note = (
        "Shares of A's values known, in held-out templates; the last four are of the first token, at the probed "
        "checkpoint nearest the trough. Palit et al., with MLPs and values of B's half: lowest 0.53, highest after "
        "0.93, at the end 0.75, first in its own half 0.97, common shift removed 0.99. Means with 95% intervals."
    )
    table, values = arms.table("A while new people are learned", _COLUMNS, note)
    return Findings({"arms": values}, [table], forgetting_figures(arms.groups()) if runs else {}, arms)


def _mean(measure: Measure, decide: Callable[..., Verdict], bound: float, arms: ByArm) -> Verdict:
    if short := _too_short(OTHER_HALF, arms):
        return cannot_tell(short)
    return arms.mean_verdict(OTHER_HALF, measure, decide, bound, "logits were not probed")


def _too_short(arm: str, arms: ByArm) -> str:
    kept = arms.of(arm, lambda run: kept_when_new_known(run, 50, FIRST))
    missing = [seed for seed, one in kept.items() if one is None]
    return f"in {len(missing)} of {len(kept)} runs {NOT_KNOWN}" if missing else ""


def _deeper(arms: ByArm) -> Verdict:
    for arm in (OTHER_HALF, BOTH_HALVES):
        if short := _too_short(arm, arms):
            return cannot_tell(short)
    return decide_paired(arms.difference(OTHER_HALF, BOTH_HALVES, lowest_share), partial(below, bound=0.0))


_SHORT = "cannot tell otherwise, or if in some run half of the new values are not known."
_CLAIMS = (
    Claim(
        "A's facts collapse when new people have the other half's values",
        "0.53 of 1 at the lowest (with MLPs), 0.12 (attention only)",
        "Lowest accuracy on A over that before fine-tuning. Holds if its 95% interval lies below 0.8; does not hold if "
        f"it lies above; {_SHORT}",
        partial(_mean, lowest_share, below, 0.8),
        unit=Unit(SHARE, "of the accuracy before"),
    ),
    Claim(
        "They come back while training goes on",
        "from 0.53 to 0.93 (with MLPs)",
        "Rise of the accuracy on A after its trough (0 without one), over that before fine-tuning. Holds if its 95% "
        f"interval lies above 0.05; does not hold if it lies below; {_SHORT}",
        partial(_mean, recovery, above, 0.05),
        unit=Unit(POINTS, "of the accuracy before"),
    ),
    Claim(
        "The collapse is deeper than with values of both halves",
        "0.53 against no collapse",
        "Lowest accuracy on A over that before, new people with the other half's values minus new people with all, "
        f"over pairs of equal seed. Holds if its 95% interval lies below 0; does not hold if it lies above; {_SHORT}",
        _deeper,
        unit=Unit(POINTS, "of the accuracy before"),
    ),
    Claim(
        "Near the trough, right values are still first in their own half",
        "0.97 (with MLPs)",
        f"Share of A's facts. Holds if its 95% interval lies above {_STILL_THERE:g}; does not hold if it lies below; "
        f"{_SHORT}",
        partial(_mean, partial(of_shift, "own_half"), above, _STILL_THERE),
        unit=Unit(SHARE, "of facts"),
    ),
    Claim(
        "Taking away the shift that all share brings facts back",
        "0.99 against 0.53 (with MLPs)",
        "Accuracy on A with the common part of the shift removed, which is estimated on other people, minus that "
        f"without, near the trough. Holds if its 95% interval lies above 0; does not hold if it lies below; {_SHORT}",
        partial(_mean, _brought_back, above, 0.0),
        unit=Unit(POINTS, "of facts"),
    ),
)

STUDY = Study(
    name="spurious-forgetting",
    title="Is what new people's facts undo lost, or only out of reach?",
    figure="not in the paper (Palit et al. 2026)",
    grids={"laptop": _grid()},
    claims={"laptop": _CLAIMS},
    examine=examine,
    probes=("shift",),
)
