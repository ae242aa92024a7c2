import numpy as np
import pytest

from moefacts.analysis.hallucination import auroc, departure


def test_departure_is_the_last_crossing_upwards():
    step = np.arange(0, 900, 100)
    loss = np.array([10, 6, 5.1, 5.2, 5.8, 5.2, 5.3, 6.3, 8.0])  # a bump at 400 does not count
    assert departure(step, loss, 5.0) == pytest.approx(600 + 100 * (5.5 - 5.3) / 1.0)


def test_a_model_that_stays_at_the_baseline_never_departs():
    assert departure(np.arange(3), np.array([9.0, 5.1, 5.0]), 5.0) is None


def test_a_model_that_never_came_down_never_departs():
    assert departure(np.arange(3), np.array([9.0, 8.0, 7.0]), 5.0) is None


def test_auroc_counts_pairs():
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 10, 40).astype(float), rng.integers(0, 8, 30).astype(float)
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert auroc(positive, negative) == pytest.approx(np.mean(pairs))
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
