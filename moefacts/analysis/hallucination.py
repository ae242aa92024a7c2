"""Confidence about people whom the model never met: overconfidence, departure from the baseline, calibration."""

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from moefacts.analysis.runs import Run, crossing
from moefacts.run_files import PLATEAU_CEILING

NUM_BINS = 15


def departure(step: np.ndarray, unseen_loss: np.ndarray, baseline: float) -> float | None:
    """Where the loss on unseen people leaves the baseline for good.

    The interpolated step from which it stays above ``PLATEAU_CEILING`` times the baseline until the end of the
    run, after having been below; None when it never was below or is below at the end.
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


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, num_bins: int = NUM_BINS) -> float:
    """Mean over equal-width bins of |accuracy - confidence|, weighted by how many fall in each (Guo et al. 2017)."""
    bin_of = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    gap = np.bincount(bin_of, weights=correct - confidence, minlength=num_bins)
    return float(np.abs(gap).sum() / len(confidence))


def hallucination_measures(run: Run) -> dict[str, float | None]:
    """How a run treats unseen people at its end.

    ``unseen_auroc`` asks whether confidence (maximum probability, averaged over the attributes of a biography)
    tells seen people from unseen ones; calibration errors compare the confidence in a whole value with whether
    it is right. They need the confidence probe, which is written when training ends, and are None before.
    """
    table = run.evaluations.dropna(subset="eval/unseen/attribute_loss")  # unseen people may be evaluated more rarely
    last = table.iloc[-1]
    unseen_loss = table["eval/unseen/attribute_loss"].to_numpy()
    measures: dict[str, float | None] = {
        "unseen_final_attribute_loss": float(unseen_loss[-1]),
        "unseen_final_loss_over_baseline": float(unseen_loss[-1] / run.baseline),
        "unseen_departure": departure(table.index.to_numpy(), unseen_loss, run.baseline),
    }
    for cohort in ("seen", "unseen"):
        measures[f"{cohort}_max_probability"] = float(last[f"eval/{cohort}/max_probability"])
        measures[f"{cohort}_entropy"] = float(last[f"eval/{cohort}/entropy"])
    return measures | _confidence_measures(run.confidence)


def _confidence_measures(table: pd.DataFrame | None) -> dict[str, float | None]:
    if table is None:
        return dict.fromkeys(("unseen_auroc", "seen_calibration_error", "unseen_calibration_error"))
    by_biography = table.groupby(["cohort", "biography"])["max_probability"].mean()
    measures: dict[str, float | None] = {
        "unseen_auroc": auroc(by_biography["seen"].to_numpy(), by_biography["unseen"].to_numpy())
    }
    for cohort, rows in table.groupby("cohort"):
        measures[f"{cohort}_calibration_error"] = expected_calibration_error(
            rows["value_confidence"].to_numpy(np.float64), rows["attribute_accuracy"].to_numpy(np.float64)
        )
    return measures
