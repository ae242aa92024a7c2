"""What becomes of what a model knew while it is fine-tuned on other people, from a run's record alone.

"Old" are people whom the weights had seen before fine-tuning started, "new" are those who are learned.
"""

from typing import Any

import numpy as np
import pandas as pd

from moefacts.analysis.phases import steps_to_accuracy
from moefacts.analysis.trough import NO_FALL, Trough, find_trough
from moefacts.runs import keys
from moefacts.runs.reader import Run

LEVELS = (50, 90, 99)  # per cent of the new people's values known

# Key -> what it means, in the order of the tables. The first are of the learned people, the others of each old cohort.
LEARNING = {
    "new_accuracy_before": "accuracy on the learned people before fine-tuning",
    **{f"steps_to_{level}_new_accuracy": f"{level}% of their values known, interpolated (step)" for level in LEVELS},
    "new_accuracy_at_end": "accuracy on the learned people at the end",
}
OLD = {
    "accuracy_before": "old accuracy before fine-tuning",
    "trough_step": "the trough: the evaluation after a fall beyond its error, before the largest rise (step)",
    "accuracy_at_trough": "old accuracy there",
    "loss_at_trough": "old attribute loss there (nats)",
    "recovered_step": "the highest evaluation after the trough (step)",
    "recovery": "old accuracy there − at the trough",
    "erosion": "old accuracy there − at the end",
    **{f"accuracy_when_new_{level}": f"old accuracy when {level}% of new values are known" for level in LEVELS},
    "accuracy_at_end": "old accuracy at the end",
    "loss_at_end": "old attribute loss at the end (nats)",
    "retention_at_trough": "(baseline − loss) / (baseline − loss before) at the trough",
    "retention_at_end": "(baseline − loss) / (baseline − loss before) at the end",
}


def old_and_new_accuracy(run: Run, cohort: str) -> pd.DataFrame:
    """The columns ``old`` and ``learned``: accuracy on ``cohort`` and on the learned people, indexed by step.

    There is one row per evaluation of the cohort, for which the learned people's accuracy is interpolated.
    """
    old, new = (run.curve(keys.ATTRIBUTE_ACCURACY, one) for one in (cohort, run.learned_cohort))
    return pd.DataFrame({"old": old, "learned": np.interp(old.index, new.index, new)}, index=old.index)


def learning_measures(run: Run) -> dict[str, Any]:
    """The measures in ``LEARNING``: how fast the new people are learned.

    A level's step is where the straight line to the first evaluation that reaches it crosses the level. It is None if
    none does, and ``…_reason`` says so.
    """
    curve = run.curve(keys.ATTRIBUTE_ACCURACY, run.learned_cohort)
    measures: dict[str, Any] = {"new_accuracy_before": float(curve.iloc[0])}
    for level in LEVELS:
        key = f"steps_to_{level}_new_accuracy"
        measures[key] = steps_to_accuracy(curve.index.to_numpy(), curve.to_numpy(), level / 100)
        reached = f"new people reached {100 * curve.max():.1f}% at most, by step {curve.index[-1]:,}"
        measures[f"{key}_reason"] = reached if measures[key] is None else ""
    return measures | {"new_accuracy_at_end": float(curve.iloc[-1])}


def forgetting_measures(run: Run) -> dict[str, dict[str, Any]]:
    """Old cohort -> the measures in ``OLD``; empty for a run that was not fine-tuned.

    - Everything "before" is of the evaluation of step 0. A_t is old accuracy at evaluation t, L_t old attribute loss in
      nats, b the no-knowledge baseline.
    - ``trough_status`` and the trough are those of ``find_trough``. Without a fall, everything about the trough is None
      and ``trough_reason`` says why. The standard errors are those of the record; a run that did not record that of an
      accuracy has √(A (1 − A) / biographies), which no standard error of B shares with mean A exceeds.
    - ``recovery`` = max(A_t, t from the trough on) − A_trough, ``erosion`` = that maximum − A_end. ``…_is_significant``
      says whether they are larger than their error.
    - ``accuracy_when_new_50`` is A, interpolated between evaluations, at the step where new people reach 50%; None if
      they do not, with a ``…_reason``.
    - ``retention`` = (b − L_t) / (b − L_0): 1 if nothing was lost, 0 at the baseline, negative if the model is
      confidently wrong. None, with a ``retention_reason``, if nothing was known before (L_0 ≥ b).
    - ``learned_share`` is the share of the cohort's people who are also among the learned ones.
    """
    if not run.is_fine_tuned:
        return {}
    learning = learning_measures(run)
    return {cohort: _cohort_measures(run, cohort, learning) for cohort in run.known_before}


def fine_tuning_as_json(run: Run) -> dict[str, Any]:
    """All measures of a fine-tuned run as JSON values; those of the old cohorts stand under ``old``."""
    return {"learned_cohort": run.learned_cohort, **learning_measures(run), "old": forgetting_measures(run)}


def trough_of(run: Run, cohort: str) -> Trough:
    """The trough of the accuracy on ``cohort``."""
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, cohort)
    if run.has_curve(keys.ACCURACY_STANDARD_ERROR, cohort):
        error = run.curve(keys.ACCURACY_STANDARD_ERROR, cohort).reindex(accuracy.index).to_numpy()
    else:
        error = np.sqrt(accuracy * (1 - accuracy) / run.settings.evaluation.biographies).to_numpy()
    return find_trough(accuracy.to_numpy(), error)


def lowest_step(run: Run, cohort: str) -> int:
    """The step of the trough, or of the lowest evaluation if there is no fall."""
    trough = trough_of(run, cohort)
    index = trough.lowest if trough.index is None else trough.index
    return int(run.curve(keys.ATTRIBUTE_ACCURACY, cohort).index[index])


def _cohort_measures(run: Run, cohort: str, learning: dict[str, Any]) -> dict[str, Any]:
    accuracy, loss = (run.curve(name, cohort) for name in (keys.ATTRIBUTE_ACCURACY, keys.ATTRIBUTE_LOSS))
    people, learned = run.people[cohort], run.people[run.learned_cohort]
    overlap = max(0, min(people.stop, learned.stop) - max(people.start, learned.start))
    measures: dict[str, Any] = dict.fromkeys(OLD)
    measures |= {
        "learned_share": overlap / len(people),
        "accuracy_before": float(accuracy.iloc[0]),
        "loss_before": float(loss.iloc[0]),
        "accuracy_at_end": float(accuracy.iloc[-1]),
        "loss_at_end": float(loss.iloc[-1]),
    }
    trough = trough_of(run, cohort)
    measures |= _trough_measures(trough, accuracy, loss)
    for level in LEVELS:
        step, key = learning[f"steps_to_{level}_new_accuracy"], f"accuracy_when_new_{level}"
        reason = learning[f"steps_to_{level}_new_accuracy_reason"]
        if step is not None and step > accuracy.index[-1]:
            step, reason = None, f"the cohort was not evaluated after step {accuracy.index[-1]:,}"
        measures[key] = None if step is None else float(np.interp(step, accuracy.index, accuracy))
        measures[f"{key}_reason"] = reason
    known = run.baseline - loss.iloc[0]
    measures["retention_reason"] = "" if known > 0 else "the old people's loss before fine-tuning is not below baseline"
    for when in ("trough", "end"):
        found = measures[f"loss_at_{when}"]
        is_defined = known > 0 and found is not None
        measures[f"retention_at_{when}"] = float((run.baseline - found) / known) if is_defined else None
    return measures


def _trough_measures(trough: Trough, accuracy: pd.Series, loss: pd.Series) -> dict[str, Any]:
    measures: dict[str, Any] = {"trough_status": trough.status, "trough_reason": ""}
    if trough.status == NO_FALL:
        fall = accuracy.iloc[0] - accuracy.iloc[trough.lowest]
        reason = f"accuracy fell by {fall:.4f} at most, within its error of {trough.margin:.4f}"
        return measures | {"trough_reason": reason}
    assert trough.index is not None
    assert trough.top is not None
    assert trough.rise_margin is not None
    assert trough.erosion_margin is not None
    if trough.index == len(accuracy) - 1:
        measures["trough_reason"] = "accuracy is lowest at the last evaluation and may fall further"
    step, highest = int(accuracy.index[trough.index]), float(accuracy.iloc[trough.top])
    recovery, erosion = highest - float(accuracy.iloc[trough.index]), highest - float(accuracy.iloc[-1])
    return measures | {
        "trough_step": step,
        "accuracy_at_trough": float(accuracy.iloc[trough.index]),
        "loss_at_trough": float(loss[step]),
        "recovered_step": int(accuracy.index[trough.top]),
        "accuracy_recovered": highest,
        "recovery": recovery,
        "recovery_is_significant": recovery > trough.rise_margin,
        "erosion": erosion,
        "erosion_is_significant": erosion > trough.erosion_margin,
    }
