"""Spurious forgetting (Palit et al. 2026): is what new people's facts undo lost, or only out of reach?

Every attribute's values are split at random into two halves. Of the people of pretraining, A have values of the first
half and B of the second. The new people B′ have values of the second half only, the new people C of both. What happens
to A while B′ or C are learned?

Palit et al. train 2,000 people in A, 2,000 in B and 500 in B′ and C, with eight layers of width 512; here it is the
laptop's model with a fraction of the people, and recall is of whole values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from moefacts.analysis.comparison import paired_difference
from moefacts.analysis.forgetting import forgetting_measures
from moefacts.analysis.forgetting_figures import forgetting_figures
from moefacts.analysis.groups import Group
from moefacts.analysis.study_report import Table
from moefacts.analysis.summary import estimate
from moefacts.config.overrides import value_text
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below, cannot_tell
from moefacts.experiments.studies._finetuned import PEOPLE, fine_tuning, kept_when_new_known, pretraining
from moefacts.experiments.studies._paired import decide_paired
from moefacts.runs import keys, tables
from moefacts.runs.reader import Run

_SEEDS, _OLD, _NEW = 5, PEOPLE["laptop"] // 2, 64
FIRST, SECOND, OTHER_HALF, BOTH_HALVES = "A", "B", "B_prime", "C"
ARMS = {OTHER_HALF: "values of B's half", BOTH_HALVES: "values of both halves"}
_COHORTS = {
    FIRST: {"part_of": keys.SEEN, "stop": _OLD, "values": "first"},
    SECOND: {"part_of": keys.SEEN, "start": _OLD, "values": "second"},
    OTHER_HALF: {"part_of": keys.NEW, "stop": _NEW, "values": "second"},
    BOTH_HALVES: {"part_of": keys.NEW, "start": _NEW, "stop": 2 * _NEW},
}
_STILL_THERE = 0.8  # of A's facts, by their rank in their own half


def _grid() -> list[GridRun]:
    runs = []
    for seed in seeds_for(PEOPLE["laptop"], _SEEDS):
        first = pretraining("laptop", seed, f"population.cohorts={value_text(_COHORTS)}")
        for learned, arm in ARMS.items():
            labels = {"arm": arm, "learned": learned}
            runs.append(fine_tuning("laptop", first, learned, _COHORTS, labels, old=(FIRST, SECOND)))
    return runs


@dataclass(frozen=True)
class Evidence:
    """The finished runs, by the cohort that is learned and by seed."""

    runs: Mapping[str, Mapping[int, Run]]

    def of(self, learned: str, measure: Callable[[Run], float | None]) -> dict[int, float | None]:
        """Seed -> a measure of the run."""
        return {seed: measure(run) for seed, run in self.runs.get(learned, {}).items()}


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


_COLUMNS: dict[str, Callable[[Run], float | None]] = {
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
    by_arm: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_arm.setdefault(run.labels["learned"], {})[run.seed] = run.record
    rows, values = [], {}
    for learned, members in by_arm.items():
        means = {title: estimate([measure(run) for run in members.values()]) for title, measure in _COLUMNS.items()}
        rows.append([ARMS[learned], str(len(members)), *(mean.text() if mean else "–" for mean in means.values())])
        values[learned] = {title: None if mean is None else vars(mean) for title, mean in means.items()}
    note = (
        "Shares of A's values known, in held-out templates; the last four are of the first token, at the probed "
        "checkpoint nearest the trough. Palit et al., with MLPs and values of B's half: lowest 0.53, highest after "
        "0.93, at the end 0.75, first in its own half 0.97, common shift removed 0.99. Means over seeds with 95% intervals."
    )
    table = Table("A while new people are learned", ["new people have", "runs", *_COLUMNS], rows, note)
    groups = [Group(ARMS[learned], list(members.values())) for learned, members in by_arm.items()]
    figures: Mapping[str, Any] = forgetting_figures(groups) if groups else {}
    return Findings({"arms": values}, [table], figures, Evidence(by_arm))


_Decide = Callable[..., Verdict]


def _mean(
    learned: str, measure: Callable[[Run], float | None], decide: _Decide, bound: float, evidence: Evidence
) -> Verdict:
    found = list(evidence.of(learned, measure).values())
    mean = estimate(found)
    if mean is None or mean.missing:
        return cannot_tell(f"{found.count(None)} of {len(found)} runs have not been probed" if found else "no run")
    if short := _too_short(evidence.of(learned, kept_after_half)):
        return cannot_tell(short)
    interval = None if mean.low is None or mean.high is None else (mean.low, mean.high)
    return decide(mean.mean, interval, bound, mean.count)


def kept_after_half(run: Run) -> float | None:
    """The share of A kept when half of the new values are known; None if they are not."""
    return kept_when_new_known(run, 50, FIRST)


def _too_short(kept: Mapping[int, float | None]) -> str:
    missing = [seed for seed, one in kept.items() if one is None]
    return f"in {len(missing)} of {len(kept)} runs half of the new values are not known" if missing else ""


def _deeper(evidence: Evidence) -> Verdict:
    for learned in ARMS:
        if short := _too_short(evidence.of(learned, kept_after_half)):
            return cannot_tell(short)
    pair = paired_difference(evidence.of(OTHER_HALF, lowest_share), evidence.of(BOTH_HALVES, lowest_share))
    return decide_paired(pair, partial(below, bound=0.0))


_SHORT = "cannot tell otherwise, or if in some run half of the new values are not known."
_CLAIMS = (
    Claim(
        "A's facts collapse when new people have the other half's values",
        "0.53 of 1 at the lowest (with MLPs), 0.12 (attention only)",
        "Lowest accuracy on A over that before fine-tuning. Holds if its 95% interval lies below 0.8; does not hold if "
        f"it lies above; {_SHORT}",
        partial(_mean, OTHER_HALF, lowest_share, below, 0.8),
    ),
    Claim(
        "They come back while training goes on",
        "from 0.53 to 0.93 (with MLPs)",
        "Rise of the accuracy on A after its trough (0 without one), over that before fine-tuning. Holds if its 95% "
        f"interval lies above 0.05; does not hold if it lies below; {_SHORT}",
        partial(_mean, OTHER_HALF, recovery, above, 0.05),
    ),
    Claim(
        "The collapse is deeper than with values of both halves",
        "0.53 against no collapse",
        "Lowest accuracy on A over that before, new people with the other half's values minus new people with all, over "
        f"pairs of equal seed. Holds if its 95% interval lies below 0; does not hold if it lies above; {_SHORT}",
        _deeper,
    ),
    Claim(
        "Near the trough, right values are still first in their own half",
        "0.97 (with MLPs)",
        f"Share of A's facts. Holds if its 95% interval lies above {_STILL_THERE:g}; does not hold if it lies below; "
        f"{_SHORT}",
        partial(_mean, OTHER_HALF, partial(of_shift, "own_half"), above, _STILL_THERE),
    ),
    Claim(
        "Taking away the shift that all share brings facts back",
        "0.99 against 0.53 (with MLPs)",
        "Accuracy on A with the common part of the shift removed, which is estimated on other people, minus that "
        f"without, near the trough. Holds if its 95% interval lies above 0; does not hold if it lies below; {_SHORT}",
        partial(_mean, OTHER_HALF, _brought_back, above, 0.0),
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
