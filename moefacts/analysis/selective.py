"""Selective prediction: how often answers are wrong when only the most confident ones are given.

Answers are sorted by falling confidence. Equal confidences are taken in random order, and what is computed is the mean
over these orders, so that no number depends on the order of a table. Shape legend: N answers, K = 1 … N of them given.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class RiskCoverage:
    """The errors among the K most confident answers, for every K (El-Yaniv and Wiener 2010).

    Attributes:
        errors_K: their expected number.
        confidence_K: the K-th largest confidence.
        right: the number of right answers among all.
    """

    errors_K: np.ndarray
    confidence_K: np.ndarray
    right: int

    @classmethod
    def of(cls, confidence_N: np.ndarray, right_N: np.ndarray) -> Self:
        """The curve of at least one answer; ``right_N`` is 1 where an answer is right, else 0."""
        assert len(confidence_N) == len(right_N) > 0
        order_N = np.argsort(-np.asarray(confidence_N, np.float64), kind="stable")
        confidence_K, wrong_K = np.asarray(confidence_N, np.float64)[order_N], 1.0 - np.asarray(right_N)[order_N]
        end = np.append(np.flatnonzero(np.diff(confidence_K)) + 1, len(order_N))
        known = (np.append(0, end), np.append(0.0, wrong_K.cumsum()[end - 1]))
        return cls(np.interp(np.arange(1, len(order_N) + 1), *known), confidence_K, round(len(order_N) - wrong_K.sum()))

    @property
    def coverage_K(self) -> np.ndarray:
        """The share of answers that are given."""
        return np.arange(1, len(self.errors_K) + 1) / len(self.errors_K)

    @property
    def risk_K(self) -> np.ndarray:
        """The share of wrong answers among those that are given."""
        return self.errors_K / np.arange(1, len(self.errors_K) + 1)

    @property
    def perfect_risk_K(self) -> np.ndarray:
        """The risk if all right answers were more confident than all wrong ones."""
        given_K = np.arange(1, len(self.errors_K) + 1)
        return (given_K - self.right).clip(min=0) / given_K

    @property
    def aurc(self) -> float:
        """The area under the risk-coverage curve: (1/N) Σ_K errors_K / K (Geifman, Uziel and El-Yaniv 2019)."""
        return float(self.risk_K.mean())

    @property
    def excess_aurc(self) -> float:
        """That area minus the one of the perfect order (E-AURC, ibid.)."""
        return self.aurc - float(self.perfect_risk_K.mean())

    @property
    def augrc(self) -> float:
        """The area under the generalised curve: (1/N) Σ_K errors_K / N (Traub et al. 2024, arXiv 2407.01032)."""
        return float(self.errors_K.mean() / len(self.errors_K))

    def _largest_within(self, risk: float) -> int:
        """The largest K that a threshold on the confidence can give at no more than this risk; 0 if there is none."""
        is_end_K = np.append(np.diff(self.confidence_K) != 0, True)
        return int(np.flatnonzero(is_end_K & (self.risk_K <= risk + 1e-12)).max(initial=-1)) + 1

    def coverage_at(self, risk: float) -> float:
        """The largest share of answers that can be given at no more than this risk."""
        return self._largest_within(risk) / len(self.errors_K)

    def threshold_at(self, risk: float) -> float | None:
        """The smallest confidence from which on all answers are given at no more than this risk; None if none is."""
        given = self._largest_within(risk)
        return float(self.confidence_K[given - 1]) if given else None

    def risk_at(self, coverage: float) -> float:
        """The risk when at least this share of the answers is given, between 0 (exclusive) and 1."""
        return float(self.risk_K[int(np.ceil(coverage * len(self.risk_K) - 1e-9)) - 1])
