"""The evidence of law-capacity: every arm's plateau ends, and the exponents between its sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import stats

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
        active: the parameters that one token meets: all of a dense model's, fewer of a mixture's.
        num_runs: the number of runs.
    """

    arm: str
    at: SizePoint
    total: int
    active: int
    num_runs: int

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
    def bits_per_active(self) -> float:
        """The information in the values of all people, per active parameter."""
        return self.at.bits_per_parameter * self.total / self.active

    @property
    def log_end(self) -> float:
        """The mean over seeds of the log of the plateau's end."""
        return float(np.mean(np.log(self.at.ends)))


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
    def log_bits_active(self) -> float:
        """The same per active parameter."""
        return float(np.mean(np.log([self.low.bits_per_active, self.high.bits_per_active])))


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

    def exponent_half(self, step: Step) -> float:
        """Half of the 95% interval of the exponent."""
        errors = [self.end_scatter.standard_error(len(point.at.ends)) for point in (step.low, step.high)]
        return self.end_scatter.quantile * math.hypot(*errors) / step.doublings


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

    @property
    def quantile(self) -> float:
        """Half the width of a 95% interval in standard errors."""
        return float(stats.t.ppf(0.975, max(1, self.freedom)))


def evidence_of(runs: Sequence[FinishedRun]) -> Evidence:
    """The points of all arms and sizes that have runs."""
    by_point: dict[tuple[str, int], list[FinishedRun]] = {}
    for run in runs:
        by_point.setdefault((run.labels["arm"], run.labels["size"]), []).append(run)
    in_order = [(arm.name, size) for arm in ARMS for size in sorted(arm.sizes)]
    return Evidence([_point(*key, by_point[key]) for key in in_order if key in by_point])


def _point(arm: str, size: int, runs: Sequence[FinishedRun]) -> ArmPoint:
    total, active = (runs[0].measures[f"parameters_{which}"] for which in ("total", "active"))
    return ArmPoint(arm, size_point(size, runs), total, active, len(runs))
