import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from moefacts.analysis.calibration import NUM_BINS, expected_calibration_error, reliability


def test_calibration_error_of_known_cases():
    confidence = np.full(1000, 0.8)
    assert expected_calibration_error(confidence, (np.arange(1000) < 800).astype(float)) == pytest.approx(0, abs=1e-12)
    assert expected_calibration_error(confidence, np.zeros(1000)) == pytest.approx(0.8)
    assert expected_calibration_error(np.ones(10), np.ones(10)) == pytest.approx(0)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_over_and_underconfidence_in_different_bins_do_not_cancel(equal_mass):
    confidence = np.array([0.2] * 100 + [0.9] * 100)
    correct = np.array([1.0] * 100 + [0.0] * 100)
    assert expected_calibration_error(confidence, correct, equal_mass=equal_mass) == pytest.approx((0.8 + 0.9) / 2)


def test_certainty_belongs_to_the_last_bin_and_the_bin_before_it_does_not():
    width = 1 / NUM_BINS
    last, before = 1 - width / 2, 1 - 1.5 * width
    # Within a bin, overconfidence cancels underconfidence: certain and wrong here, nearly certain and right there.
    gap = expected_calibration_error(np.array([1.0, last]), np.array([0.0, 1.0]))
    assert gap == pytest.approx(abs(-1.0 + (1 - last)) / 2)
    apart = expected_calibration_error(np.array([last, before]), np.array([0.0, 1.0]))
    assert apart == pytest.approx((last + 1 - before) / 2)


@pytest.mark.parametrize(("equal_mass", "strategy"), [(False, "uniform"), (True, "quantile")])
def test_bins_are_those_of_scikit_learn(equal_mass, strategy):
    random = np.random.default_rng(0)
    confidence = random.beta(0.5, 0.5, 500)  # no two are equal, and none is on an edge
    correct = (random.random(500) < confidence).astype(int)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=10, strategy=strategy)
    bins = reliability(confidence, correct, 10, equal_mass)
    # Ours are closed below: the answer on a quantile's edge, one in every bin, is in the bin above.
    assert bins["confidence"].to_numpy() == pytest.approx(mean, abs=0.03 * equal_mass + 1e-12)
    assert bins["accuracy"].to_numpy() == pytest.approx(accuracy, abs=0.03 * equal_mass + 1e-12)
    assert bins["count"].sum() == 500
    assert not equal_mass or set(bins["count"]) == {50}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.97, 1.0]), st.integers(0, 1)), min_size=1, max_size=40))
def test_equal_confidences_are_in_one_bin_and_the_error_is_its_definition(answers):
    confidence, correct = map(np.array, zip(*answers, strict=True))
    for equal_mass in (False, True):
        bins = reliability(confidence, correct, equal_mass=equal_mass)
        assert bins["count"].sum() == len(answers)
        assert len(bins) <= len(set(confidence))
    gaps = [abs((correct - confidence)[confidence == one].sum()) for one in set(confidence)]
    finest = expected_calibration_error(confidence, correct, num_bins=1000)
    assert finest == pytest.approx(sum(gaps) / len(answers))
