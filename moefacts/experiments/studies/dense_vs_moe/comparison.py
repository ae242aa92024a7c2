"""Comparisons of finished runs of several kinds of model, at equal population size and seed."""

from collections.abc import Sequence

from moefacts.analysis.comparison import Bounds, paired_difference
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.engine.verdict import Verdict
from moefacts.experiments.studies._paired import bounds_of, decide_paired, log_ratio, value_of

BALANCED, UNBALANCED, DENSE = "balanced", "unbalanced", "–"
NAMES = {
    "dense": "dense",
    "moe": "8 experts top-2, equal active",
    "moe_total": "8 experts top-2, equal total",
    "moe_switch": "32 experts top-1, equal active",
    "moe_switch_total": "32 experts top-1, equal total",
}


class Comparison:
    """Finished runs by kind of model, balancing and size. Plateau ends count only where they are determined."""

    def __init__(self, runs: Sequence[FinishedRun]):
        self.runs = [run for run in runs if run.labels["part"] == "comparison"]
        self.collapse = {run.labels["balancing"]: run.record for run in runs if run.labels["part"] == "collapse"}

    def groups(self) -> list[tuple[str, str, int]]:
        """The (kind, balancing, size) of the finished runs, in the order of the grid."""
        keys = [(run.labels["kind"], run.labels["balancing"], run.labels["size"]) for run in self.runs]
        return list(dict.fromkeys(keys))

    def members(self, kind: str, balancing: str, size: int | None = None) -> list[FinishedRun]:
        """The runs of one kind and balancing, at one size or at all sizes."""
        wanted = (kind, DENSE if kind == "dense" else balancing)
        return [
            run
            for run in self.runs
            if (run.labels["kind"], run.labels["balancing"]) == wanted and size in (None, run.labels["size"])
        ]

    def values(
        self, measure: str, kind: str, balancing: str, size: int | None = None
    ) -> dict[tuple[int, int], float | None]:
        """(size, seed) -> a measure of the run of one kind and balancing."""
        return {(run.labels["size"], run.seed): value_of(run, measure) for run in self.members(kind, balancing, size)}

    def bounds(
        self, measure: str, kind: str, balancing: str, size: int | None = None
    ) -> dict[tuple[int, int], Bounds | None]:
        """The same, with bounds for an event that was not reached or that cannot be determined."""
        return {(run.labels["size"], run.seed): bounds_of(run, measure) for run in self.members(kind, balancing, size)}


def against_dense(measure: str, kind: str, decide, ratio: bool, comparison: Comparison) -> Verdict:
    """Decide from the mean paired difference (or log ratio) of a balanced mixture from dense over sizes and seeds."""
    ours, theirs = comparison.bounds(measure, kind, BALANCED), comparison.bounds(measure, "dense", DENSE)
    return decide_paired(paired_difference(ours, theirs, log_ratio if ratio else _plain), decide)


def against_unbalanced(measure: str, decide, comparison: Comparison) -> Verdict:
    """Decide from the mean paired difference over all mixtures: the measure without balancing minus that with it."""
    ours: dict = {}
    theirs: dict = {}
    for kind in NAMES:
        if kind != "dense":
            for balancing, values in ((UNBALANCED, ours), (BALANCED, theirs)):
                found = comparison.values(measure, kind, balancing)
                values.update({(kind, *key): value for key, value in found.items()})
    return decide_paired(paired_difference(ours, theirs), decide)


def _plain(ours: float, theirs: float) -> float:
    return ours - theirs
