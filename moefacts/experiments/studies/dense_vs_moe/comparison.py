"""Comparisons of finished runs of several kinds of model, at equal population size and seed."""

from collections.abc import Sequence
from functools import partial

from moefacts.analysis.comparison import Bounds, Paired, paired_difference
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.engine.verdict import Verdict, cannot_tell
from moefacts.experiments.studies._paired import bounds_of, decide_paired, log_ratio, value_of
from moefacts.experiments.studies._trained import stopped_early

BALANCED, UNBALANCED, DENSE = "balanced", "unbalanced", "–"
END = "plateau_end_interpolated"
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

    def from_dense(self, measure: str, kind: str, balancing: str, size: int) -> Paired | None:
        """The mean paired difference of a mixture from the dense model at one size."""
        return paired_difference(
            self.bounds(measure, kind, balancing, size), self.bounds(measure, "dense", DENSE, size)
        )


def against_dense(measure: str, kind: str, decide, ratio: bool, comparison: Comparison) -> Verdict:
    """Decide from the mean paired difference (or log ratio) of a balanced mixture from dense over sizes and seeds."""
    ours, theirs = comparison.bounds(measure, kind, BALANCED), comparison.bounds(measure, "dense", DENSE)
    pair = paired_difference(ours, theirs, log_ratio) if ratio else paired_difference(ours, theirs)
    if measure != END:
        early = stopped_early(
            lambda one: comparison.values(one, kind, BALANCED), lambda one: comparison.values(one, "dense", DENSE)
        )
        if early:
            return cannot_tell(early)
        if pair is not None and pair.missing:
            return cannot_tell(
                f"{pair.missing} of {pair.missing + pair.count} pairs stopped before both could be compared"
            )
    return decide_paired(pair, decide)


def against_unbalanced(measure: str, decide, comparison: Comparison) -> Verdict:
    """Decide from the mean paired difference over all mixtures: the measure without balancing minus that with it."""

    def of_all(balancing: str, one: str) -> dict[tuple[str, int, int], float | None]:
        return {
            (kind, *key): value
            for kind in NAMES
            if kind != "dense"
            for key, value in comparison.values(one, kind, balancing).items()
        }

    if early := stopped_early(partial(of_all, UNBALANCED), partial(of_all, BALANCED)):
        return cannot_tell(early)
    return decide_paired(paired_difference(of_all(UNBALANCED, measure), of_all(BALANCED, measure)), decide)
