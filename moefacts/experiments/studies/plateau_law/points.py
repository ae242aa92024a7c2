"""What runs of several population sizes say of the law: a point for every size, and the fits through them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from moefacts.analysis.plateau_end import REACHED
from moefacts.analysis.scaling_law import Point, PowerLaw, fit_power_law
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.phases import PLATEAU_SHARE
from moefacts.experiments.studies.plateau_law.figures import SizePoint
from moefacts.runs import keys
from moefacts.runs.thresholds import PLATEAU_CEILING, crossing, first_below
from moefacts.synthetic_data.pools import ATTRIBUTES


@dataclass(frozen=True)
class Evidence:
    """The points by size, ascending, and the laws through them."""

    points: Sequence[SizePoint]

    @property
    def inside(self) -> list[SizePoint]:
        """The sizes that the law goes through."""
        return [point for point in self.points if point.inside]

    @property
    def told(self) -> list[SizePoint]:
        """The sizes whose plateau has a length in every seed."""
        return [point for point in self.points if point.told and min(point.lengths) > 0]

    @cached_property
    def law(self) -> PowerLaw | None:
        """The law of the plateau's end, when there are three sizes inside it or more."""
        return _fit([Point(point.size, point.ends, point.errors) for point in self.inside])

    @cached_property
    def length_law(self) -> PowerLaw | None:
        """The law of the steps between the plateau's start and end. No claim is about it."""
        return _fit([Point(point.size, point.lengths, point.errors) for point in self.told])


def _fit(points: Sequence[Point]) -> PowerLaw | None:
    return fit_power_law(points) if len(points) >= 3 else None


def size_point(size: int, runs: Sequence[FinishedRun]) -> SizePoint:
    """What the runs of one size say, and whether the size is inside the law.

    It is when, in every seed, the plateau's end can be told and the plateau lasts for at least ``PLATEAU_SHARE`` of
    the steps up to its end.
    """
    told = [run for run in runs if run.measures["plateau_end_status"] == REACHED]
    ends = [run.measures["plateau_end_interpolated"] for run in told]
    errors = [(run.measures["plateau_end_high"] - run.measures["plateau_end_low"]) / (2 * 1.96) for run in told]
    lengths = [end - _plateau_start(run) for run, end in zip(told, ends, strict=True)]
    statuses = sorted({run.measures["plateau_end_status"] for run in runs} - {REACHED})
    why = ""
    if statuses:
        reasons = sorted({r.measures["plateau_end_reason"] for r in runs} - {"", None})
        why = (
            f"plateau end: {', '.join(statuses)} in {len(runs) - len(told)} of {len(runs)} runs ({'; '.join(reasons)})"
        )
    elif (share := min(length / end for length, end in zip(lengths, ends, strict=True))) < PLATEAU_SHARE:
        why = f"plateau melts into the first phase: {share:.0%} of the steps in one seed"
    batch_size = runs[0].record.batch_size
    bits = bits_of_facts(size, runs[0].record.baseline) / runs[0].measures["parameters_total"]
    return SizePoint(size, tuple(ends), tuple(errors), tuple(lengths), batch_size, not statuses, not why, why, bits)


def bits_of_facts(num_people: int, baseline: float) -> float:
    """What all people's values carry: they are drawn uniformly, so it is N times the baselines' sum, in bits."""
    return num_people * len(ATTRIBUTES) * baseline / np.log(2)


def _plateau_start(run: FinishedRun) -> float:
    """Where the loss comes within 10% of the baseline, interpolated: evaluations are rare there."""
    curve = run.record.curve(keys.ATTRIBUTE_LOSS)
    step, loss, ceiling = curve.index.to_numpy(), curve.to_numpy(), PLATEAU_CEILING * run.record.baseline
    first = first_below(loss, ceiling)
    assert first is not None  # its end, which lies lower, was reached
    return crossing(step, loss, ceiling, first)
