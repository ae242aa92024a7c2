"""Figure 2, left and middle: three phases, and no knowledge before the second has ended (study, section 4)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from moefacts.analysis.figures import attribute_accuracy, attribute_loss, seen_and_unseen_loss
from moefacts.analysis.groups import Group
from moefacts.analysis.plateau_end import REACHED
from moefacts.analysis.summary import estimate, format_number
from moefacts.analysis.table import Table
from moefacts.analysis.unit import SHARE, Unit
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
    number_and_interval,
    within,
)
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._trained import open_seeds, what_is_open
from moefacts.runs import keys
from moefacts.runs.reader import Run
from moefacts.runs.thresholds import PLATEAU_CEILING, PLATEAU_FLOOR

PLATEAU_SHARE = 0.25  # a plateau lasts at least this share of the steps up to its end
SEEDS_NEEDED = 2  # fewer cannot show that something is so in every seed
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
    """Attribute accuracy averaged over evaluations from the plateau's start to its end; None if either is not known."""
    start, end = run.measures["plateau_start"], run.measures["plateau_end_interpolated"]
    if run.measures["plateau_end_status"] != REACHED or start is None or end is None:
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

    None when the plateau's end is not known (it cannot be determined, or training stopped before it), or when its
    length depends on where between two evaluations it started.
    """
    if run.measures["plateau_end_status"] != REACHED:
        return None
    end = run.measures["plateau_end_interpolated"]
    shortest, longest = (end - run.measures[f"plateau_start_{bound}"] for bound in ("high", "low"))
    if shortest >= PLATEAU_SHARE * end:
        return True
    return False if longest < PLATEAU_SHARE * end else None


def why_unclear(run: FinishedRun) -> str:
    """Why ``three_phases`` gives no answer; empty if it does."""
    if (why := what_is_open(run)) or three_phases(run) is not None:
        return why
    low, high = (run.measures[f"plateau_start_{bound}"] for bound in ("low", "high"))
    return f"its plateau starts anywhere between steps {low:,.0f} and {high:,.0f}"


def _three_phases(runs: Evidence) -> Verdict:
    answers = [three_phases(run) for run in runs]
    text = f"in {answers.count(True)} of {len(runs)} seeds"
    if len(runs) < SEEDS_NEEDED:
        return cannot_tell(f"{text}; fewer than {SEEDS_NEEDED} decide nothing")
    if unclear := open_seeds(runs, why_unclear):
        text += f"; cannot tell in {answers.count(None)} ({unclear})"
    if False in answers:
        return Verdict(DOES_NOT_HOLD, text)
    return cannot_tell(text) if unclear else Verdict(HOLDS, text)


def _mean_accuracy(values: Sequence[float | None], decide: Callable[..., Verdict], nothing: str) -> Verdict:
    """Decide from the mean of an accuracy over seeds. Its interval is shown within [0, 1]; ``nothing`` is its lack."""
    mean = estimate(list(values))
    if mean is None:
        return cannot_tell(nothing)
    if mean.low is None or mean.high is None:
        return decide(mean.mean, None)
    verdict = decide(mean.mean, (mean.low, mean.high), count=mean.count)
    shown = (max(0.0, mean.low), min(1.0, mean.high))
    return replace(verdict, here=number_and_interval(mean.mean, shown), interval=shown)


def _no_knowledge(runs: Evidence) -> Verdict:
    accuracies = [accuracy_on_plateau(run) for run in runs]
    nothing = open_seeds(runs, lambda run: what_is_open(run) or "no evaluation on its plateau")
    return _mean_accuracy(accuracies, partial(below, bound=NO_KNOWLEDGE), nothing or "there are no runs")


def _emergence(runs: Evidence) -> Verdict:
    final = [run.measures["final_attribute_accuracy"] for run in runs]
    verdict = _mean_accuracy(final, partial(above, bound=KNOWLEDGE), "there are no runs")
    early = open_seeds(runs, _why_too_early)
    if verdict.answer != DOES_NOT_HOLD or not early:
        return verdict
    return replace(verdict, answer=CANNOT_TELL, here=f"{verdict.here}, but {early}", p_value=None)


def _why_too_early(run: FinishedRun) -> str:
    """Why a run cannot show that knowledge does not emerge; empty if it can."""
    if reason := what_is_open(run):
        return reason
    end, last = run.measures["plateau_end_interpolated"], run.measures["last_step"]
    return "" if last >= 2 * end else f"stopped at step {last:,}, soon after its plateau ended at step {end:,.0f}"


def _published_accuracy(step: int, published: float, runs: Evidence) -> Verdict:
    at = [None if np.isnan(accuracy := accuracy_at(run.record, step)) else accuracy for run in runs]
    low, high = published - ACCURACY_TOLERANCE, published + ACCURACY_TOLERANCE
    # No accuracy lies beyond 0 or 1, but its interval may.
    decide = partial(within, low=low if low > 0 else -np.inf, high=high if high < 1 else np.inf)
    return _mean_accuracy(at, decide, f"every run stopped before step {step:,}")


_PHASES = Claim(
    "Learning has three phases: the loss falls to the no-knowledge baseline, stays on a plateau, and falls again",
    "three phases in every seed",
    f"Holds if, in every seed, the loss comes within {PLATEAU_CEILING - 1:.0%} of the baseline and later falls below "
    f"{PLATEAU_FLOOR} of it, and the plateau in between lasts at least {PLATEAU_SHARE:.0%} of the steps up to its end; "
    "does not hold if, in some seed, it ends after fewer. Cannot tell otherwise, because training stopped too early or "
    f"the plateau's start or end cannot be determined well enough, or with fewer than {SEEDS_NEEDED} seeds.",
    _three_phases,
)
_ON_PLATEAU = Claim(
    "On the plateau the model knows next to nothing",
    "0.7% at 3,000 steps",
    "Uses the seeds whose plateau has ended. Holds if the 95% interval of the mean accuracy over the plateau's "
    f"evaluations lies below {NO_KNOWLEDGE:.0%}; does not hold if it lies above; cannot tell otherwise.",
    _no_knowledge,
    unit=Unit(SHARE, "of values known"),
)
_EMERGENCE = Claim(
    "After the plateau knowledge emerges",
    "99.9% by 14,000 steps",
    f"Holds if the 95% interval of the final accuracy lies above {KNOWLEDGE:.0%}; does not hold if it lies below, and "
    "every seed was trained for at least as many steps after its plateau's end as before; cannot tell otherwise.",
    _emergence,
    unit=Unit(SHARE, "of values known"),
)
_ACCURACIES = tuple(
    Claim(
        f"After {step:,} steps the accuracy is that of the study",
        f"{accuracy:.1%}",
        f"Holds if the 95% interval of the accuracy lies within {100 * ACCURACY_TOLERANCE:.0f} percentage points of "
        "the published one; does not hold if it lies outside; cannot tell otherwise, or if every run stopped before.",
        partial(_published_accuracy, step, accuracy),
        unit=Unit(SHARE, "of values known"),
    )
    for step, accuracy in PUBLISHED_ACCURACY.items()
)

STUDY = Study(
    name="phases",
    title="Are facts learned in three phases?",
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
