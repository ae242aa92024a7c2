"""Whether confidence is the share of right answers: reliability in bins, and the expected calibration error."""

import numpy as np
import pandas as pd

NUM_BINS = 15


def bin_edges(confidence: np.ndarray, num_bins: int = NUM_BINS, equal_mass: bool = False) -> np.ndarray:
    """The inner edges of bins of equal width, or of bins with equally many answers; equal confidences stay together."""
    if equal_mass:
        return np.quantile(confidence, np.linspace(0, 1, num_bins + 1))[1:-1]
    return np.arange(1, num_bins) / num_bins


def reliability(
    confidence: np.ndarray, correct: np.ndarray, num_bins: int = NUM_BINS, equal_mass: bool = False
) -> pd.DataFrame:
    """The count, the mean confidence and the accuracy of every bin that is not empty, ascending.

    An answer on an edge belongs to the bin above it. ``correct`` is 1 where an answer is right, else 0.
    """
    bin_of = np.searchsorted(bin_edges(confidence, num_bins, equal_mass), confidence, side="right")
    rows = pd.DataFrame({"bin": bin_of, "confidence": confidence, "accuracy": correct})
    found = rows.groupby("bin").agg(
        count=("bin", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    return found.reset_index(drop=True)


def expected_calibration_error(
    confidence: np.ndarray, correct: np.ndarray, num_bins: int = NUM_BINS, equal_mass: bool = False
) -> float:
    """Mean of |accuracy - confidence| over bins, weighted by the count in each (Guo et al. 2017)."""
    bins = reliability(confidence, correct, num_bins, equal_mass)
    return float((bins["count"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / len(confidence))
