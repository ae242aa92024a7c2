"""Finished runs of several kinds of model, compared at equal population size and seed."""

import math
from collections.abc import Sequence

from moefacts.analysis.comparison import Paired, paired_difference
from moefacts.analysis.runs import Run
from moefacts.experiments.study import FinishedRun
from moefacts.experiments.verdict import Verdict, cannot_tell

BALANCED, UNBALANCED, DENSE = "balanced", "unbalanced", "–"
NAMES = {
    "dense": "dense",
    "moe": "8 experts top-2, equal active",
    "moe_total": "8 experts top-2, equal total",
    "moe_switch": "32 experts top-1, equal active",
    "moe_switch_total": "32 experts top-1, equal total",
}


def max_violation(run: Run) -> float | None:
    """Largest load over mean load, less 1, averaged over the layers at the last evaluation; None for a dense model."""
    last = run.evaluations.iloc[-1]
    values = [float(last[name]) for name in last.index if name.endswith("/max_violation")]
    return sum(values) / len(values) if values else None


def idle_experts(run: Run) -> int | None:
    """Number of experts, over all layers, that got no token at the last evaluation; None for a dense model."""
    last = run.evaluations.iloc[-1]
    loads = [float(last[name]) for name in last.index if "/load_fraction/" in name]
    return sum(load == 0 for load in loads) if loads else None


_OF_ROUTING = {"max_violation": max_violation, "idle_experts": idle_experts}


class Comparison:
    """The runs by kind, balancing and size. Of a plateau's end, only those that can be told count."""

    def __init__(self, runs: Sequence[FinishedRun]):
        self.runs = [run for run in runs if run.labels["part"] == "comparison"]
        self.collapse = {run.labels["balancing"]: run.run for run in runs if run.labels["part"] == "collapse"}

    def groups(self) -> list[tuple[str, str, int]]:
        """(kind, balancing, size) of what is there, in the order of the grid."""
        keys = [(run.labels["kind"], run.labels["balancing"], run.labels["size"]) for run in self.runs]
        return list(dict.fromkeys(keys))

    def members(self, kind: str, balancing: str, size: int | None = None) -> list[FinishedRun]:
        """The runs of one group, or of all its sizes."""
        wanted = (kind, DENSE if kind == "dense" else balancing)
        return [
            run
            for run in self.runs
            if (run.labels["kind"], run.labels["balancing"]) == wanted and size in (None, run.labels["size"])
        ]

    def values(
        self, measure: str, kind: str, balancing: str, size: int | None = None
    ) -> dict[tuple[int, int], float | None]:
        """(size, seed) -> a measure."""
        return {
            (run.labels["size"], run.run.config["seed"]): value_of(run, measure)
            for run in self.members(kind, balancing, size)
        }


def value_of(run: FinishedRun, measure: str) -> float | None:
    """A measure of a run; a plateau's end only when it can be told."""
    if measure in _OF_ROUTING:
        return _OF_ROUTING[measure](run.run)
    if measure == "plateau_end_interpolated" and run.measures["plateau_end_status"] != "reached":
        return None
    return run.measures[measure]


def against_dense(measure: str, kind: str, decide, ratio: bool, comparison: Comparison) -> Verdict:
    """Decide from the mean paired difference (or log ratio) of a balanced mixture from dense, over sizes and seeds."""
    ours, theirs = comparison.values(measure, kind, BALANCED), comparison.values(measure, "dense", DENSE)
    return decide_paired(paired_difference(ours, theirs, log_ratio if ratio else _plain), decide)


def against_unbalanced(measure: str, decide, comparison: Comparison) -> Verdict:
    """Decide from the mean paired difference over all mixtures, without balancing less with."""
    ours: dict = {}
    theirs: dict = {}
    for kind in NAMES:
        if kind != "dense":
            for balancing, values in ((UNBALANCED, ours), (BALANCED, theirs)):
                found = comparison.values(measure, kind, balancing)
                values.update({(kind, *key): value for key, value in found.items()})
    return decide_paired(paired_difference(ours, theirs), decide)


def decide_paired(pair: Paired | None, decide) -> Verdict:
    """Decide from a paired difference; the text says over how many pairs."""
    if pair is None:
        return cannot_tell("no pair of runs has it")
    verdict = decide(pair.mean, pair.interval)
    note = f" over {pair.count} pairs" + (f", {pair.missing} more lack it" if pair.missing else "")
    return Verdict(verdict.answer, verdict.here + note, verdict.value, verdict.interval)


def _plain(ours: float, theirs: float) -> float:
    return ours - theirs


def log_ratio(ours: float, theirs: float) -> float:
    """Natural logarithm of ours over theirs."""
    return math.log(ours / theirs)
