"""The three phases of a run: statistics first, a plateau without knowledge, then knowledge."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from moefacts.analysis.plateau_end import NORMAL_95, find_plateau_end
from moefacts.runs import keys
from moefacts.runs.reader import Run
from moefacts.runs.thresholds import PLATEAU_CEILING, PLATEAU_FLOOR, crossing, first_below, first_true

ACCURACIES = (10, 50, 90)


@dataclass(frozen=True)
class Phases:
    """The steps at which a run's phases meet; None where a boundary was not reached.

    Attributes:
        plateau_start: where the straight line that leads to the first evaluation with an attribute loss below
            ``PLATEAU_CEILING`` times the baseline crosses that level. The study defines no start; this definition is
            ours.
        plateau_start_low, plateau_start_high: the evaluations between which the start lies: the last one before the
            loss minus its 95% margin is below that level, and the first one at which the loss plus its margin is. The
            loss is far from straight there, so the interpolation is no better than their distance.
        plateau_end: first evaluation with an attribute loss below ``threshold`` times the baseline (study, section 2).
        plateau_end_interpolated: where the straight line that leads to that evaluation crosses the threshold.
            ``find_plateau_end`` says whether, and how precisely, it can be determined.
        plateau_length: ``plateau_end_interpolated - plateau_start``.
    """

    plateau_start: float | None
    plateau_start_low: float | None
    plateau_start_high: float | None
    plateau_end: int | None
    plateau_end_interpolated: float | None
    plateau_length: float | None


def find_phases(
    step: np.ndarray,
    attribute_loss: np.ndarray,
    baseline: float,
    threshold: float = PLATEAU_FLOOR,
    standard_error: np.ndarray | float = 0.0,
) -> Phases:
    """Find the phases in a curve of attribute losses on seen people in held-out templates.

    Args:
        step: steps of the evaluations, ascending.
        attribute_loss: attribute loss at each evaluation, in nats.
        baseline: no-knowledge baseline in nats.
        threshold: the plateau has ended below this fraction of the baseline.
        standard_error: standard error of each loss, in nats.
    """
    ceiling, floor, margin = PLATEAU_CEILING * baseline, threshold * baseline, NORMAL_95 * standard_error
    start, end = first_below(attribute_loss, ceiling), first_below(attribute_loss, floor)
    begins = low = high = leaves = None
    if start is not None:
        begins = crossing(step, attribute_loss, ceiling, start)
        earliest, latest = first_below(attribute_loss - margin, ceiling), first_below(attribute_loss + margin, ceiling)
        low = float(step[max((earliest or 0) - 1, 0)])
        high = float(step[-1 if latest is None else latest])
    if end is not None:
        leaves = crossing(step, attribute_loss, floor, end)
    return Phases(
        plateau_start=begins,
        plateau_start_low=low,
        plateau_start_high=high,
        plateau_end=None if end is None else int(step[end]),
        plateau_end_interpolated=leaves,
        plateau_length=None if begins is None or leaves is None else leaves - begins,
    )


def steps_to_accuracy(step: np.ndarray, accuracy: np.ndarray, level: float) -> float | None:
    """The step at which attribute accuracy first reaches ``level``, interpolated; None when it never does."""
    first = first_true(accuracy >= level)
    return None if first is None else crossing(step, accuracy, level, first)


def phase_measures(run: Run, threshold: float | None = None) -> dict[str, Any]:
    """Measures of the phases and the emergence of knowledge of one run.

    ``threshold`` defaults to the one in the run's config. ``plateau_end_status`` says whether the plateau's end can be
    determined; ``plateau_end_low`` and ``plateau_end_high`` say how precisely.
    """
    if threshold is None:
        threshold = run.settings.evaluation.plateau_threshold
    step = run.evaluations.index.to_numpy()
    loss, accuracy = run.curve(keys.ATTRIBUTE_LOSS).to_numpy(), run.curve(keys.ATTRIBUTE_ACCURACY).to_numpy()
    errors = _standard_errors(run)
    phases = find_phases(step, loss, run.baseline, threshold, errors)
    end = find_plateau_end(step, loss, errors, run.baseline, threshold)
    measures: dict[str, Any] = {"baseline": run.baseline, "plateau_threshold": threshold, **vars(phases)}
    measures |= {
        "plateau_end_status": end.status,
        "plateau_end_reason": end.reason,
        "plateau_end_low": end.low,
        "plateau_end_high": end.high,
        "plateau_end_earliest": end.earliest,
        "plateau_end_latest": end.latest,
    }
    for percent in ACCURACIES:
        measures[f"steps_to_{percent}_accuracy"] = steps_to_accuracy(step, accuracy, percent / 100)
    measures |= {
        "last_step": int(step[-1]),
        "final_attribute_loss": float(loss[-1]),
        "final_attribute_accuracy": float(accuracy[-1]),
    }
    return measures


def _standard_errors(run: Run) -> np.ndarray:
    """The standard error of each loss; 0 where an earlier version did not record it."""
    key = keys.evaluation_key(run.cohort, keys.LOSS_STANDARD_ERROR)
    recorded = run.evaluations[key].fillna(0.0) if key in run.evaluations else np.zeros(len(run.evaluations))
    return np.asarray(recorded)
