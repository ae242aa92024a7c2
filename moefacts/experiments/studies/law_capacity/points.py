"""The evidence of law-capacity: every arm's plateau ends and retention times, and the exponents between its sizes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import stats

from moefacts.analysis.retention_at_end import retention_at_end, why_untold
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.law_capacity.grid import ARMS
from moefacts.experiments.studies.plateau_law.plateau_law_figures import SizePoint
from moefacts.experiments.studies.plateau_law.points import size_point

SEEDS_NEEDED = 3


@dataclass(frozen=True)
class ArmPoint:
    """The runs of one arm at one population size.

    Attributes:
        arm: the arm's name.
        at: its plateau ends, and whether these are inside the law.
        total: the model's total parameters.
        time_scale_of: seed -> retention time at the plateau's end, in steps, where it can be told.
        num_runs: the number of runs.
        untold: seed -> why its retention time cannot be told.
    """

    arm: str
    at: SizePoint
    total: int
    time_scale_of: Mapping[int, float]
    num_runs: int
    untold: Mapping[int, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The number of people."""
        return self.at.size

    @property
    def end_of(self) -> dict[int, float]:
        """Seed -> plateau end, in steps, of the runs that have one."""
        return dict(zip(self.at.seeds, self.at.ends, strict=True))

    @property
    def revisit(self) -> float:
        """The mean number of steps until a person is shown again."""
        return self.size / self.at.batch_size

    @property
    def left_out(self) -> str:
        """Why no claim uses the point; empty if claims do."""
        if self.at.inside and self.num_runs < SEEDS_NEEDED:
            return f"only {self.num_runs} of {SEEDS_NEEDED} seeds"
        return self.at.why

    @property
    def has_retention(self) -> bool:
        """Whether the retention time can be told in every run."""
        return not self.left_out and len(self.time_scale_of) == self.num_runs

    @property
    def log_end(self) -> float:
        """The mean over seeds of the log of the plateau's end."""
        return float(np.mean(np.log(self.at.ends)))

    @property
    def log_time_scale(self) -> float:
        """The mean over seeds of the log of the retention time."""
        return float(np.mean(np.log(list(self.time_scale_of.values()))))

    @property
    def log_overdue(self) -> float:
        """The log of the revisit interval over the retention time: above 0, people return after they are forgotten."""
        return float(np.log(self.revisit)) - self.log_time_scale


@dataclass(frozen=True)
class Step:
    """Two neighbouring sizes of one arm, both used by claims."""

    low: ArmPoint
    high: ArmPoint

    @property
    def doublings(self) -> float:
        """The log of the ratio of their sizes."""
        return float(np.log(self.high.size / self.low.size))

    @property
    def exponent(self) -> float:
        """The exponent of the law through the two."""
        return (self.high.log_end - self.low.log_end) / self.doublings

    @property
    def log_bits(self) -> float:
        """The log of the bits of facts per total parameter, halfway between the two."""
        return float(np.mean(np.log([self.low.at.bits_per_parameter, self.high.at.bits_per_parameter])))

    @property
    def has_retention(self) -> bool:
        """Whether the retention time can be told at both."""
        return self.low.has_retention and self.high.has_retention

    @property
    def log_overdue(self) -> float:
        """As at a point, halfway between the two."""
        return (self.low.log_overdue + self.high.log_overdue) / 2


class Evidence:
    """The points in the order of the arms and sizes."""

    def __init__(self, points: Sequence[ArmPoint]):
        self.points = points

    def of(self, arm: str) -> list[ArmPoint]:
        """The points of one arm, in ascending order of sizes."""
        return [point for point in self.points if point.arm == arm]

    @cached_property
    def arms(self) -> list[str]:
        """The arms that have runs."""
        return list(dict.fromkeys(point.arm for point in self.points))

    @cached_property
    def used(self) -> list[ArmPoint]:
        """The points that claims use."""
        return [point for point in self.points if not point.left_out]

    @cached_property
    def steps(self) -> list[Step]:
        """All pairs of neighbouring sizes that are both used."""
        used = set(map(id, self.used))
        return [
            Step(low, high)
            for arm in self.arms
            for low, high in pairwise(self.of(arm))
            if {id(low), id(high)} <= used
        ]  # fmt: skip

    @cached_property
    def end_scatter(self) -> "Scatter":
        """How far seeds scatter about the log plateau ends of their point."""
        return Scatter.of([np.log(point.at.ends) for point in self.used])

    @cached_property
    def time_scale_scatter(self) -> "Scatter":
        """How far seeds scatter about the log retention times of their point."""
        known = [point for point in self.used if point.has_retention]
        return Scatter.of([np.log(list(point.time_scale_of.values())) for point in known])

    def exponent_half(self, step: Step, num_tests: int = 1) -> float:
        """Half of the 95% interval of the exponent, of which ``num_tests`` are judged at once."""
        errors = [self.end_scatter.standard_error(len(point.at.ends)) for point in (step.low, step.high)]
        return self.end_scatter.quantile(num_tests) * math.hypot(*errors) / step.doublings

    def overdue_half(self, step: Step, num_tests: int = 1) -> float:
        """Half of the 95% interval of ``log_overdue``, likewise."""
        scatter = self.time_scale_scatter
        errors = [scatter.standard_error(len(point.time_scale_of)) for point in (step.low, step.high)]
        return scatter.quantile(num_tests) * math.hypot(*errors) / 2


@dataclass(frozen=True)
class Scatter:
    """The standard deviation of seeds in logs, taken to be the same at all points, with its degrees of freedom."""

    deviation: float
    freedom: int

    @classmethod
    def of(cls, logs: Sequence[np.ndarray]) -> "Scatter":
        """Pool the deviations of all points from their means."""
        freedom = sum(len(values) - 1 for values in logs)
        squares = sum(float(((values - values.mean()) ** 2).sum()) for values in logs)
        return cls(float(np.sqrt(squares / freedom)) if freedom else np.inf, freedom)

    def standard_error(self, count: int) -> float:
        """That of a mean over ``count`` seeds."""
        return self.deviation / np.sqrt(count)

    def quantile(self, num_tests: int) -> float:
        """Half the width of a 95% interval in standard errors, by Bonferroni for ``num_tests`` intervals at once."""
        return float(stats.t.ppf(1 - 0.025 / num_tests, max(1, self.freedom)))


def evidence_of(runs: Sequence[FinishedRun]) -> Evidence:
    """The points of all arms and sizes that have runs."""
    by_point: dict[tuple[str, int], list[FinishedRun]] = {}
    for run in runs:
        by_point.setdefault((run.labels["arm"], run.labels["size"]), []).append(run)
    in_order = [(arm.name, size) for arm in ARMS for size in sorted(arm.sizes)]
    return Evidence([_point(*key, by_point[key]) for key in in_order if key in by_point])


def _point(arm: str, size: int, runs: Sequence[FinishedRun]) -> ArmPoint:
    time_scale_of, untold = {}, {}
    for run in runs:
        fit = retention_at_end(run.record)
        if fit is None or not fit.is_known:
            untold[run.seed] = why_untold(run.record, fit)
        else:
            assert fit.time_scale is not None
            time_scale_of[run.seed] = fit.time_scale
    total = runs[0].measures["parameters_total"]
    return ArmPoint(arm, size_point(size, runs), total, time_scale_of, len(runs), untold)
