"""Figure 2, left and middle: three phases, and no knowledge before the second has ended (study, section 4)."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from moefacts.analysis.figures import attribute_accuracy, attribute_loss, seen_and_unseen_loss
from moefacts.analysis.groups import Group
from moefacts.analysis.plateau_end import CANNOT_TELL as END_UNDETERMINED
from moefacts.analysis.plateau_end import REACHED
from moefacts.analysis.study_report import Table
from moefacts.analysis.summary import estimate, format_number
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import (
    CANNOT_TELL,
    DOES_NOT_HOLD,
    HOLDS,
    Claim,
    Verdict,
    above,
    below,
    cannot_tell,
    within,
)
from moefacts.experiments.studies import _laptop as laptop
from moefacts.runs import keys
from moefacts.runs.reader import Run
from moefacts.runs.thresholds import PLATEAU_CEILING, PLATEAU_FLOOR

PLATEAU_SHARE = 0.25  # a plateau lasts at least this share of the steps up to its end
NO_KNOWLEDGE, KNOWLEDGE = 0.05, 0.5  # accuracy on the plateau, and at the end
PUBLISHED_ACCURACY = {3000: 0.007, 5000: 0.069, 7500: 0.495, 14000: 0.999}  # 64k people, digitised
ACCURACY_TOLERANCE = 0.1
_SEEDS = 5
_SIZES = {"laptop": 1024, "paper": 64000}
_LAPTOP = (
    *laptop.SETTINGS,
    "training.steps=2200",
    "evaluation.interval=40",
    "evaluation.interval_after_plateau=100",
    "evaluation.interval_unseen=40",
)
_PAPER: tuple[str, ...] = ()
Evidence = Sequence[FinishedRun]


def accuracy_on_plateau(run: FinishedRun) -> float | None:
    """Attribute accuracy averaged over evaluations from the plateau's start to its end; None without a plateau."""
    start, end = run.measures["plateau_start"], run.measures["plateau_end_interpolated"]
    if start is None or end is None:
        return None
    accuracy = run.record.curve(keys.ATTRIBUTE_ACCURACY)
    part = accuracy[(accuracy.index >= start) & (accuracy.index <= end)]
    return float(part.mean()) if len(part) else None


def accuracy_at(run: Run, step: int) -> float:
    """Attribute accuracy at ``step``, interpolated; NaN outside the run."""
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY)
    return float(np.interp(step, accuracy.index, accuracy, left=np.nan, right=np.nan))


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Find the phases of every seed, and prepare the curves of all seeds."""
    group = Group("", [run.record for run in runs])
    figures = {
        "attribute_loss": ("Attribute loss in held-out templates, and the baseline.", partial(attribute_loss, [group])),
        "attribute_accuracy": ("Share of attribute values that are known.", partial(attribute_accuracy, [group])),
        "seen_and_unseen_loss": ("Loss on seen and unseen people.", partial(seen_and_unseen_loss, [group])),
    }
    keys = ("plateau_start", "plateau_end_interpolated", "plateau_end_low", "plateau_end_high", "steps_to_50_accuracy")
    rows = [
        [str(run.seed), run.measures["plateau_end_status"]]
        + [format_number(run.measures[key]) for key in (*keys, "final_attribute_accuracy")]
        for run in runs
    ]
    columns = [
        "seed",
        "plateau end",
        "plateau start",
        "plateau end (step)",
        "low",
        "high",
        "50% known",
        "final accuracy",
    ]
    note = "Low and high are the ends of the 95% interval of the plateau's end, from the noise of the evaluations."
    values = {
        "accuracy_on_plateau": [accuracy_on_plateau(run) for run in runs],
        "accuracy_at": {step: [accuracy_at(run.record, step) for run in runs] for step in PUBLISHED_ACCURACY},
    }
    return Findings(values, [Table("Phases by seed", columns, rows, note)], figures, runs)


def three_phases(run: FinishedRun) -> bool | None:
    """Whether the loss falls to the baseline, stays there for ``PLATEAU_SHARE`` of the steps, and leaves it.

    None when the plateau's end cannot be determined.
    """
    start, end = run.measures["plateau_start"], run.measures["plateau_end_interpolated"]
    if run.measures["plateau_end_status"] == END_UNDETERMINED:
        return None
    reached = run.measures["plateau_end_status"] == REACHED and start is not None
    return bool(reached and end - start >= PLATEAU_SHARE * end)


def _three_phases(runs: Evidence) -> Verdict:
    answers = [three_phases(run) for run in runs]
    shown, unknown = answers.count(True), answers.count(None)
    text = f"in {shown} of {len(runs)} seeds" + (f"; cannot tell in {unknown}" if unknown else "")
    if shown == len(runs):
        return Verdict(HOLDS, text)
    return Verdict(CANNOT_TELL if unknown else DOES_NOT_HOLD, text)


def _mean_accuracy(runs: Evidence, of, decide) -> Verdict:
    """Decide from the mean of an accuracy over seeds and its interval, clipped to [0, 1]."""
    mean = estimate([of(run) for run in runs])
    if mean is None:
        return cannot_tell("no seed has this accuracy")
    if mean.low is None or mean.high is None:
        return cannot_tell(f"{mean.mean:.3g} (no interval: only one seed)")
    return decide(mean.mean, (max(0.0, mean.low), min(1.0, mean.high)))


def _no_knowledge(runs: Evidence) -> Verdict:
    return _mean_accuracy(runs, accuracy_on_plateau, lambda mean, interval: below(mean, interval, NO_KNOWLEDGE))


def _emergence(runs: Evidence) -> Verdict:
    def final(run: FinishedRun) -> float:
        return run.measures["final_attribute_accuracy"]

    return _mean_accuracy(runs, final, lambda mean, interval: above(mean, interval, KNOWLEDGE))


def _published_accuracy(step: int, published: float, runs: Evidence) -> Verdict:
    def at(run: FinishedRun) -> float | None:
        accuracy = accuracy_at(run.record, step)
        return None if np.isnan(accuracy) else accuracy

    low, high = published - ACCURACY_TOLERANCE, published + ACCURACY_TOLERANCE
    return _mean_accuracy(runs, at, lambda mean, interval: within(mean, interval, low, high))


_PHASES = Claim(
    "Learning has three phases: the loss falls to the no-knowledge baseline, stays on a plateau, and falls again",
    "three phases in every seed",
    f"Holds if, in every seed, the loss comes within {PLATEAU_CEILING - 1:.0%} of the baseline and later falls below "
    f"{PLATEAU_FLOOR} of it, and the plateau in between lasts at least {PLATEAU_SHARE:.0%} of the steps up to its end. "
    "If not: cannot tell if the plateau's end cannot be determined in some seed; does not hold otherwise.",
    _three_phases,
)
_ON_PLATEAU = Claim(
    "On the plateau the model knows next to nothing",
    "0.7% at 3,000 steps",
    f"Holds if the 95% interval of the mean accuracy over the plateau's evaluations lies below {NO_KNOWLEDGE:.0%}; "
    "does not hold if it lies above; cannot tell otherwise.",
    _no_knowledge,
)
_EMERGENCE = Claim(
    "After the plateau knowledge emerges",
    "99.9% by 14,000 steps",
    f"Holds if the 95% interval of the final accuracy lies above {KNOWLEDGE:.0%}; does not hold if it lies below; "
    "cannot tell otherwise.",
    _emergence,
)
_ACCURACIES = tuple(
    Claim(
        f"After {step:,} steps the accuracy is that of the study",
        f"{accuracy:.1%}",
        f"Holds if the 95% interval of the accuracy lies within {100 * ACCURACY_TOLERANCE:.0f} percentage points of "
        "the published one; does not hold if it lies outside; cannot tell otherwise.",
        partial(_published_accuracy, step, accuracy),
    )
    for step, accuracy in PUBLISHED_ACCURACY.items()
)

STUDY = Study(
    name="phases",
    title="Facts are learned in three phases",
    figure="Figure 2, left and middle",
    grids={
        scale: [
            GridRun((f"population.size={_SIZES[scale]}", *settings, f"seed={seed}"))
            for seed in seeds_for(_SIZES[scale], _SEEDS)
        ]
        for scale, settings in (("laptop", _LAPTOP), ("paper", _PAPER))
    },
    claims={"laptop": (_PHASES, _ON_PLATEAU, _EMERGENCE), "paper": (_PHASES, _ON_PLATEAU, _EMERGENCE, *_ACCURACIES)},
    examine=examine,
)
