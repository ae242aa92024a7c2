"""Measures of finished runs, and verdicts from paired differences."""

import math
from dataclasses import replace

import numpy as np

from moefacts.analysis.comparison import Bounds, Paired
from moefacts.analysis.phases import steps_to_accuracy
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.engine.verdict import Verdict, cannot_tell
from moefacts.runs import keys
from moefacts.runs.reader import Run

KNOWN = 0.2  # the share of values that hallucination is compared at; every kind of model reaches it on a laptop


def max_violation(run: Run) -> float | None:
    """The largest load over the mean load, minus 1, at the last evaluation; the mean over layers. None if dense."""
    last = run.evaluations.iloc[-1]
    values = [float(last[keys.routing_key(layer, keys.MAX_VIOLATION)]) for layer in run.routed_layers]
    return sum(values) / len(values) if values else None


def idle_experts(run: Run) -> int | None:
    """The number of experts, in all layers, that received no token at the last evaluation. None if dense."""
    loads = [run.load_fraction(layer, e).iloc[-1] for layer in run.routed_layers for e in range(run.num_experts)]
    return sum(bool(load == 0) for load in loads) if loads else None


def unseen_loss_when_known(run: Run) -> float | None:
    """The loss on unseen people over the baseline, interpolated to where ``KNOWN`` of seen people's values are known.

    It compares hallucination at equal knowledge: at the end of training, a model that knows more also has a higher loss
    on unseen people. None if less is known at the end, or if unseen people were not evaluated.
    """
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY)
    step = steps_to_accuracy(accuracy.index.to_numpy(), accuracy.to_numpy(), KNOWN)
    if step is None or not run.has_curve(keys.ATTRIBUTE_LOSS, keys.UNSEEN):
        return None
    unseen = run.curve(keys.ATTRIBUTE_LOSS, keys.UNSEEN)
    return float(np.interp(step, unseen.index, unseen)) / run.baseline


_OF_RECORD = {
    "max_violation": max_violation,
    "idle_experts": idle_experts,
    "unseen_loss_when_known": unseen_loss_when_known,
}


def value_of(run: FinishedRun, measure: str) -> float | None:
    """A measure of a run; None for a plateau's end that was not reached or cannot be determined."""
    if measure in _OF_RECORD:
        return _OF_RECORD[measure](run.record)
    if measure == "plateau_end_interpolated" and run.measures["plateau_end_status"] != "reached":
        return None
    return run.measures[measure]


def bounds_of(run: FinishedRun, measure: str) -> Bounds | None:
    """A measure of a run for a paired comparison. An event that was not reached is known to be later than the run."""
    value = value_of(run, measure)
    if value is not None:
        return value, value
    if measure == "plateau_end_interpolated":
        latest = run.measures["plateau_end_latest"]
        return max(1.0, run.measures["plateau_end_earliest"]), math.inf if latest is None else latest
    return (run.measures["last_step"], math.inf) if measure.startswith("steps_to_") else None


def decide_paired(pair: Paired | None, decide) -> Verdict:
    """Apply ``decide`` to a paired difference; the verdict's text says how many pairs there are."""
    if pair is None:
        return cannot_tell("no pair of runs has both values")
    verdict = decide(pair.mean, pair.interval, count=None if pair.censored else len(pair.values))
    note = f" over {pair.count} pairs" + (f" of {pair.clusters} seeds" if pair.clusters else "")
    note += f", missing in {pair.missing} more" if pair.missing else ""
    note += f", {pair.censored} of them known within bounds" if pair.censored else ""
    return replace(verdict, here=verdict.here + note)


def log_ratio(ours: float, theirs: float) -> float:
    """The natural logarithm of ours over theirs."""
    return math.log(ours) - math.log(theirs)
