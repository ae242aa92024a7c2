"""The evidence about the plateau law: one point per population size, and the fits through them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from moefacts.analysis.law_comparison import FittedLaw, compare_laws
from moefacts.analysis.plateau_end import REACHED
from moefacts.analysis.scaling_law import Point, PowerLaw, fit_power_law
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.phases import PLATEAU_SHARE
from moefacts.experiments.studies.plateau_law.knowledge import Knowledge, knowledge_point
from moefacts.experiments.studies.plateau_law.plateau_law_figures import SizePoint
from moefacts.experiments.studies.plateau_law.retention import RetentionPoint, retention_point
from moefacts.experiments.studies.plateau_law.units import rate_sum
from moefacts.synthetic_data.pools import ATTRIBUTES


@dataclass(frozen=True)
class Evidence:
    """The points in ascending order of size, and the laws fitted to them.

    ``knowledge`` and ``retention`` have the sizes at which they were measured.
    """

    points: Sequence[SizePoint]
    knowledge: Knowledge = field(default_factory=lambda: Knowledge(()))
    retention: Sequence[RetentionPoint] = ()

    @property
    def inside(self) -> list[SizePoint]:
        """The sizes that the law is fitted to."""
        return [point for point in self.points if point.inside]

    @property
    def determined(self) -> list[SizePoint]:
        """The sizes at which the plateau has a length in every seed."""
        return [point for point in self.points if point.is_determined and min(point.lengths) > 0]

    @cached_property
    def law(self) -> PowerLaw | None:
        """The law of the plateau's end; None with fewer than three sizes inside it."""
        return _fit([Point(point.size, point.ends, point.errors, point.seeds) for point in self.inside])

    @cached_property
    def length_law(self) -> PowerLaw | None:
        """The law of the plateau's length, from its start to its end. No claim is about it."""
        return _fit([Point(point.size, point.lengths, point.errors, point.seeds) for point in self.determined])

    @cached_property
    def law_comparison(self) -> dict[str, FittedLaw] | None:
        """The laws that the plateau ends inside the law are compared with, by formula; None with too few runs."""
        runs = [(point.size, end) for point in self.inside for end in point.ends]
        return compare_laws([size for size, _ in runs], [end for _, end in runs])


def evidence_of(runs: Sequence[FinishedRun]) -> Evidence:
    """The points of all population sizes."""
    sizes = sorted({run.labels["size"] for run in runs})
    by_size = {size: [run for run in runs if run.labels["size"] == size] for size in sizes}
    points = [size_point(size, of_size) for size, of_size in by_size.items()]
    known = [knowledge_point(point.size, by_size[point.size], point.why) for point in points]
    probed = [retention_point(size, of_size) for size, of_size in by_size.items()]
    knowledge = Knowledge([point for point in known if point is not None])
    return Evidence(points, knowledge, [point for point in probed if point is not None])


def _fit(points: Sequence[Point]) -> PowerLaw | None:
    return fit_power_law(points) if len(points) >= 3 else None


def size_point(size: int, runs: Sequence[FinishedRun]) -> SizePoint:
    """The point of one size, from its runs.

    A size is inside the law if, in every seed, the plateau's end is determined and the plateau lasts for at least
    ``PLATEAU_SHARE`` of the steps up to its end.
    """
    reached = [run for run in runs if run.measures["plateau_end_status"] == REACHED]
    ends = [run.measures["plateau_end_interpolated"] for run in reached]
    errors = [(run.measures["plateau_end_high"] - run.measures["plateau_end_low"]) / (2 * 1.96) for run in reached]
    lengths = [run.measures["plateau_length"] for run in reached]
    statuses = sorted({run.measures["plateau_end_status"] for run in runs} - {REACHED})
    why = ""
    if statuses:
        count = f"{len(runs) - len(reached)} of {len(runs)} runs"
        reasons = sorted({r.measures["plateau_end_reason"] for r in runs} - {"", None})
        why = f"plateau end {' or '.join(statuses)} in {count} ({'; '.join(reasons)})"
    elif (share := min(length / end for length, end in zip(lengths, ends, strict=True))) < PLATEAU_SHARE:
        why = f"the plateau merges into the first phase: it lasts for only {share:.0%} of the steps in one seed"
    batch_size = runs[0].record.batch_size
    bits = bits_of_facts(size, runs[0].record.baseline) / runs[0].measures["parameters_total"]
    seeds = tuple(run.seed for run in reached)
    measured = (tuple(ends), tuple(errors), tuple(lengths))
    sums = tuple(_rate_sum(run, end) for run, end in zip(reached, ends, strict=True))
    return SizePoint(size, *measured, batch_size, not statuses, not why, why, bits, seeds, sums)


def _rate_sum(run: FinishedRun, steps: float) -> float:
    training = run.record.settings.training
    schedule = (training.schedule, training.learning_rate, training.final_learning_rate, training.steps)
    return float(rate_sum(steps, *schedule))


def bits_of_facts(num_people: int, baseline: float) -> float:
    """The information in all people's values, in bits: N times the sum of the baselines, because values are uniform."""
    return num_people * len(ATTRIBUTES) * baseline / np.log(2)
