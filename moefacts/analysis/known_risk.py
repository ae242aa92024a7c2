"""What a confidence has been worth: how often answers as sure as this one were right, and from where on to answer."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moefacts.analysis.calibration import bin_edges
from moefacts.analysis.decisions import main_mixture, mixtures
from moefacts.analysis.selective import RiskCoverage

NUM_BINS = 10


@dataclass(frozen=True)
class KnownRisk:
    """The answers of a run's decisions table, half about people whom training has shown and half about others.

    Attributes:
        mixture: whom the answers are about, in words.
        step: the number of updates that the model had had.
        confidence_N: the confidences of the answers.
        right_N: 1 where an answer is right, else 0.
    """

    mixture: str
    step: int
    confidence_N: np.ndarray
    right_N: np.ndarray

    def right_when_this_sure(self, confidence: float) -> tuple[float, int]:
        """The share of right answers among those about as sure, and their number.

        They are those in the same one of ten bins with equally many answers.
        """
        edges = bin_edges(self.confidence_N, NUM_BINS, equal_mass=True)
        places = np.searchsorted(edges, self.confidence_N, side="right")
        wanted = int(np.searchsorted(edges, confidence, side="right"))
        place = places[np.abs(places - wanted).argmin()]  # a bin can be empty
        chosen_N = self.right_N[places == place]
        return float(chosen_N.mean()), len(chosen_N)

    def smallest_confidence(self, risk: float) -> float | None:
        """The smallest confidence from which on at most this share of the answers is wrong; None if there is none."""
        return RiskCoverage.of(self.confidence_N, self.right_N).threshold_at(risk)


def known_risk(table: pd.DataFrame, shown: str | None, unseen: list[str]) -> KnownRisk | None:
    """The risk that a decisions table gives; None if it lacks people who were shown, or people who were not.

    Args:
        table: as in ``runs.tables.DECISIONS``.
        shown, unseen: from ``runs.shown``.
    """
    name = main_mixture(shown, unseen)
    answers = mixtures(table, shown, unseen).get(name) if name is not None else None
    if name is None or answers is None:
        return None
    return KnownRisk(name, int(table["step"].max()), answers["confidence"].to_numpy(), answers["right"].to_numpy())
