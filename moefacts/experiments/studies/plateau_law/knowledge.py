"""When each population is known to 5%, beside the end of its plateau: points, fits and values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from moefacts.analysis.knowledge import baseline, knowledge_by_attribute
from moefacts.analysis.phases import NORMAL_95
from moefacts.analysis.plateau_end import REACHED
from moefacts.analysis.scaling_law import Point, PowerLaw, fit_power_law
from moefacts.experiments.engine.study import FinishedRun
from moefacts.runs import keys

STEPS, AT_END, FLOOR = "steps_to_5_knowledge", "knowledge_at_plateau_end", "plateau_floor"


@dataclass(frozen=True)
class KnowledgeRun:
    """What one run knew of persons, and when.

    Attributes:
        seed: its seed.
        steps: the step at which knowledge reached 5%; None if it did not or cannot be determined.
        error: standard error of ``steps``, from the noise of the evaluations; 0 if there are no steps.
        plateau_end: the step at which its plateau ended; None likewise.
        end_error: standard error of ``plateau_end``.
        at_end: knowledge where the plateau ended, in baselines; None if it did not end.
        floor: the lowest loss on permuted values, over the baseline; None before the plateau.
        control_at_end: the loss on permuted values where the plateau ended, over the baseline.
        steps_by_attribute: ``steps`` of every attribute.
        share_by_attribute: every attribute's share of the knowledge at the plateau's end, in nats; empty without one.
    """

    seed: int
    steps: float | None
    error: float
    plateau_end: float | None
    end_error: float
    at_end: float | None
    floor: float | None
    control_at_end: float | None
    steps_by_attribute: dict[str, float | None]
    share_by_attribute: dict[str, float]


@dataclass(frozen=True)
class KnowledgePoint:
    """The runs of one population size that measured knowledge.

    Attributes:
        size: the number of people.
        runs: the runs.
        why: why the laws of knowledge are not fitted to this size; empty when they are.
    """

    size: int
    runs: tuple[KnowledgeRun, ...]
    why: str

    @property
    def steps(self) -> list[float]:
        """The steps to 5% of the runs that have them."""
        return [run.steps for run in self.runs if run.steps is not None]

    @property
    def mean(self) -> float | None:
        """Their geometric mean; None without any."""
        return float(stats.gmean(self.steps)) if self.steps else None

    @property
    def ratios(self) -> list[float]:
        """These steps over the step at which the plateau ended, run by run."""
        return [run.steps / run.plateau_end for run in self.runs if run.steps and run.plateau_end]


@dataclass(frozen=True)
class Knowledge:
    """The points in ascending order of size, and the laws fitted to those at which 5% is reached in every seed."""

    points: Sequence[KnowledgePoint]

    @property
    def inside(self) -> list[KnowledgePoint]:
        """The sizes that the laws are fitted to."""
        return [point for point in self.points if not point.why]

    @cached_property
    def law(self) -> PowerLaw | None:
        """The law of the steps to 5%; None with fewer than three sizes. No claim is about it."""
        return self._fit(lambda run: (run.steps, run.error))

    @cached_property
    def end_law(self) -> PowerLaw | None:
        """The law of the plateau's end at the same sizes."""
        return self._fit(lambda run: (run.plateau_end, run.end_error))

    @cached_property
    def ratio_law(self) -> PowerLaw | None:
        """The law of the steps to 5% over the plateau's end, whose exponent is the difference of the two exponents."""
        return self._fit(_ratio)

    def _fit(self, measure: Callable[[KnowledgeRun], tuple[Any, float]]) -> PowerLaw | None:
        """Fit a law to a measure of every run with its standard error."""
        points = []
        for point in self.inside:
            values, errors = zip(*(measure(run) for run in point.runs), strict=True)
            points.append(Point(point.size, values, errors, [run.seed for run in point.runs]))
        return fit_power_law(points) if len(points) >= 3 else None


def _ratio(run: KnowledgeRun) -> tuple[float, float]:
    """The steps to 5% over the plateau's end, with a standard error as if the two had independent noise."""
    assert run.steps is not None
    assert run.plateau_end is not None
    ratio = run.steps / run.plateau_end
    return ratio, float(ratio * np.hypot(run.error / run.steps, run.end_error / run.plateau_end))


def knowledge_point(size: int, runs: Sequence[FinishedRun], why: str) -> KnowledgePoint | None:
    """The point of one size, or None if none of its runs measured knowledge.

    Args:
        size: the number of people.
        runs: its runs.
        why: why the size is outside the law of the plateau's end; the laws of knowledge are fitted inside it only.
    """
    measured = [run for run in runs if run.record.has_curve(keys.CONTROL_LOSS)]
    if not measured:
        return None
    unknown = [run for run in measured if run.measures[f"{STEPS}_status"] != REACHED]
    if unknown and not why:
        reasons = "; ".join(sorted({run.measures[f"{STEPS}_reason"] for run in unknown}))
        why = f"5% knowledge cannot be determined in {len(unknown)} of {len(measured)} runs ({reasons})"
    if len(measured) < len(runs) and not why:
        why = f"knowledge was measured in {len(measured)} of {len(runs)} runs"
    return KnowledgePoint(size, tuple(_knowledge_run(run) for run in measured), why)


def _knowledge_run(run: FinishedRun) -> KnowledgeRun:
    measures, record = run.measures, run.record
    steps, error = _determined(measures, STEPS, STEPS)
    end, end_error = _determined(measures, "plateau_end_interpolated", "plateau_end")
    by_attribute = knowledge_by_attribute(record, dict(measures))
    known = {name: (one[AT_END] or 0.0) * baseline(record, name) for name, one in by_attribute.items()}
    total, at_end = sum(known.values()), None if end is None else measures[AT_END]
    return KnowledgeRun(
        seed=run.seed,
        steps=steps,
        error=error,
        plateau_end=end,
        end_error=end_error,
        at_end=at_end,
        floor=measures[FLOOR],
        control_at_end=None if at_end is None else at_end + measures["plateau_threshold"],
        steps_by_attribute={name: _determined(one, STEPS, STEPS)[0] for name, one in by_attribute.items()},
        share_by_attribute={} if at_end is None or total <= 0 else {n: one / total for n, one in known.items()},
    )


def _determined(measures: Any, key: str, prefix: str) -> tuple[float | None, float]:
    """A step, if it can be determined, with its standard error (0 if its noise is not known)."""
    if measures[f"{prefix}_status"] != REACHED:
        return None, 0.0
    low, high = measures[f"{prefix}_low"], measures[f"{prefix}_high"]
    return measures[key], 0.0 if low is None or high is None else (high - low) / (2 * NORMAL_95)


def knowledge_values(knowledge: Knowledge, numbers) -> dict[str, Any]:
    """The numbers of the laws and of every size; ``numbers`` turns a law into values."""
    return {
        "law": numbers(knowledge.law),
        "plateau_end_law_at_these_sizes": numbers(knowledge.end_law),
        "ratio_to_plateau_end_law": numbers(knowledge.ratio_law),
        "sizes": [
            {"size": point.size, "outside_because": point.why, "runs": [vars(run) for run in point.runs]}
            for point in knowledge.points
        ],
    }
