"""Finished runs by arm and seed, for studies that compare runs that start from the same run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from moefacts.analysis.comparison import Paired, Value, paired_difference
from moefacts.analysis.groups import Group
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below, cannot_tell
from moefacts.experiments.studies._finetuned import NOT_KNOWN, kept_when_new_known
from moefacts.experiments.studies._paired import decide_paired
from moefacts.experiments.studies._units import KEPT_POINTS
from moefacts.runs.reader import Run

Measure = Callable[[Run], float | None]


@dataclass(frozen=True)
class ByArm:
    """The finished runs: arm -> seed -> run."""

    runs: Mapping[str, Mapping[int, Run]]

    @classmethod
    def of_runs(cls, runs: Iterable[FinishedRun]) -> "ByArm":
        """The runs by their label ``arm``."""
        by_arm: dict[str, dict[int, Run]] = {}
        for run in runs:
            by_arm.setdefault(run.labels["arm"], {})[run.seed] = run.record
        return cls(by_arm)

    def of(self, arm: str, measure: Callable[[Run], Value]) -> dict[int, Value]:
        """Seed -> a measure of the arm's run."""
        return {seed: measure(run) for seed, run in self.runs.get(arm, {}).items()}

    def difference(self, ours: str, theirs: str, measure: Callable[[Run], Value]) -> Paired | None:
        """The mean difference of a measure over seeds, ours minus theirs."""
        return paired_difference(self.of(ours, measure), self.of(theirs, measure))

    def within(self, arm: str, ours: Callable[[Run], Value], theirs: Callable[[Run], Value]) -> Paired | None:
        """The mean difference over seeds of two measures of the same run, ours minus theirs."""
        return paired_difference(self.of(arm, ours), self.of(arm, theirs))

    def mean_verdict(
        self, arm: str, measure: Measure, decide: Callable[..., Verdict], bound: float, why: str
    ) -> Verdict:
        """The verdict of ``decide`` on the mean of a measure over seeds.

        Args:
            arm: whose runs.
            measure: the measure; if one run lacks it, it cannot be told.
            decide: ``verdict.above`` or ``verdict.below``.
            bound: what it compares with.
            why: what is wrong with runs that lack it, to follow "in 2 of 5 runs".
        """
        found = [measure(run) for run in self.runs.get(arm, {}).values()]
        mean = estimate(found)
        if mean is None or mean.missing:
            return cannot_tell(f"in {found.count(None)} of {len(found)} runs {why}")
        interval = None if mean.low is None or mean.high is None else (mean.low, mean.high)
        return decide(mean.mean, interval, bound, mean.count)

    def difference_verdict(
        self, ours: str, theirs: str, measure: Measure, decide: Callable[..., Verdict], why: str
    ) -> Verdict:
        """The verdict of ``decide`` with 0 on the mean difference of a measure over seeds, ours minus theirs."""
        pair = self.difference(ours, theirs, measure)
        num_pairs = len(self.runs.get(ours, {}).keys() & self.runs.get(theirs, {}).keys())
        if num_pairs and (pair is None or pair.missing):
            return cannot_tell(f"in {num_pairs - (pair.count if pair else 0)} of {num_pairs} pairs {why}")
        return decide_paired(pair, partial(decide, bound=0.0))

    def table(self, title: str, columns: Mapping[str, Measure], note: str) -> tuple[Table, dict[str, Any]]:
        """The means of every arm with their intervals, as a table and as numbers."""
        rows, values = [], {}
        for arm, members in self.runs.items():
            means = {name: estimate([measure(run) for run in members.values()]) for name, measure in columns.items()}
            rows.append([arm, str(len(members)), *(mean.text() if mean else "–" for mean in means.values())])
            values[arm] = {name: None if mean is None else vars(mean) for name, mean in means.items()}
        return Table(title, ["arm", "runs", *columns], rows, note), values

    def groups(self, arms: Sequence[str] | None = None) -> list[Group]:
        """The runs of each of ``arms`` (default: all) as a group for figures."""
        return [Group(arm, list(self.runs[arm].values())) for arm in arms or self.runs if arm in self.runs]


def kept_claim(text: str, published: str, ours: str, theirs: str, sign: int = 1) -> Claim:
    """The claim that one arm keeps a larger (``sign`` 1) or smaller (-1) share of old accuracy than another.

    They are compared when half of the new values are known.
    """
    side, other = ("below", "above") if sign < 0 else ("above", "below")
    rule = (
        f"Share of old accuracy kept when half of the new values are known, “{ours}” minus “{theirs}”, over pairs of "
        f"equal seed. Holds if its 95% interval lies {side} 0; does not hold if it lies {other}; cannot tell "
        "otherwise, or if some run never knows half of the new values."
    )
    decide = below if sign < 0 else above

    def verdict(arms: ByArm) -> Verdict:
        return arms.difference_verdict(ours, theirs, kept_when_new_known, decide, NOT_KNOWN)

    return Claim(text, published, rule, verdict, unit=KEPT_POINTS)
