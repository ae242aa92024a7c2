"""Confidence about people the model never saw: overconfidence, departure from the baseline, calibration."""

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from moefacts.analysis.calibration import expected_calibration_error
from moefacts.runs import keys, tables
from moefacts.runs.reader import Run
from moefacts.runs.thresholds import PLATEAU_CEILING, crossing

PROBED = (  # from the table that is written when training ends
    "unseen_auroc", "seen_teacher_forced_calibration_error", "unseen_teacher_forced_calibration_error",
)  # fmt: skip
HALLUCINATION = (
    "unseen_final_attribute_loss", "unseen_final_loss_over_baseline", "unseen_departure", "seen_max_probability",
    "seen_entropy", "unseen_max_probability", "unseen_entropy",
)  # fmt: skip


def departure(step: np.ndarray, unseen_loss: np.ndarray, baseline: float) -> float | None:
    """The interpolated step at which the loss on unseen people leaves the baseline for good.

    From there until the end of the run it stays above ``PLATEAU_CEILING`` times the baseline, after having been below.
    None when it was never below, or is below at the end.
    """
    above = unseen_loss > PLATEAU_CEILING * baseline
    if above.all() or not above[-1]:
        return None
    first_above_for_good = int(np.flatnonzero(~above)[-1]) + 1
    return crossing(step, unseen_loss, PLATEAU_CEILING * baseline, first_above_for_good)


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties counting half (Mann-Whitney U)."""
    statistic = mannwhitneyu(positive, negative, alternative="two-sided").statistic
    return float(statistic / (len(positive) * len(negative)))


def hallucination_measures(run: Run) -> dict[str, float | None]:
    """Measures of how a run treats unseen people at its end.

    ``unseen_auroc`` says how well confidence (maximum probability, averaged over the attributes of a biography)
    separates seen from unseen people. Calibration errors compare the confidence in a whole value with whether it is
    right, both teacher-forced: every token is predicted after the true ones. (Those of the model's own answers are
    among the measures of ``analysis.decisions``.) These measures need the confidence table, which is written when
    training ends, and are None before.
    """
    measures: dict[str, float | None] = dict.fromkeys(HALLUCINATION)
    if keys.UNSEEN in run.cohorts:
        unseen = run.curve(keys.ATTRIBUTE_LOSS, keys.UNSEEN)
        measures["unseen_final_attribute_loss"] = float(unseen.iloc[-1])
        measures["unseen_final_loss_over_baseline"] = float(unseen.iloc[-1] / run.baseline)
        measures["unseen_departure"] = departure(unseen.index.to_numpy(), unseen.to_numpy(), run.baseline)
    cohorts = [cohort for cohort in (keys.SEEN, keys.UNSEEN) if cohort in run.cohorts]
    # The last step at which all cohorts were evaluated.
    last = min((run.curve(keys.ATTRIBUTE_LOSS, cohort).index[-1] for cohort in cohorts), default=0)
    for cohort in cohorts:
        for measure in (keys.MAX_PROBABILITY, keys.ENTROPY):
            measures[f"{cohort}_{measure}"] = float(run.curve(measure, cohort)[last])
    return measures | _confidence_measures(run.confidence)


def _confidence_measures(table: pd.DataFrame | None) -> dict[str, float | None]:
    measures: dict[str, float | None] = dict.fromkeys(PROBED)
    if table is None:
        return measures
    by_biography = table.groupby(["cohort", "biography"])[keys.MAX_PROBABILITY].mean()
    cohorts = set(table["cohort"])
    if {keys.SEEN, keys.UNSEEN} <= cohorts:
        seen, unseen = (by_biography[cohort].to_numpy() for cohort in (keys.SEEN, keys.UNSEEN))
        measures["unseen_auroc"] = auroc(seen, unseen)
    for cohort, rows in table[table["cohort"].isin((keys.SEEN, keys.UNSEEN))].groupby("cohort"):
        measures[f"{cohort}_teacher_forced_calibration_error"] = expected_calibration_error(
            rows[tables.VALUE_CONFIDENCE].to_numpy(np.float64), rows[keys.ATTRIBUTE_ACCURACY].to_numpy(np.float64)
        )
    return measures
