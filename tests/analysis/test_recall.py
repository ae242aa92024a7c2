"""The trough, the recovery and the erosion of curves of known shape."""

import numpy as np

from moefacts.analysis.recall import recall_measures

STEPS = np.array([0, 10, 20, 40, 80])


def test_a_curve_that_falls_recovers_and_erodes():
    old, new = np.array([0.8, 0.6, 0.2, 0.7, 0.5]), np.array([0.0, 0.25, 0.75, 1.0, 0.9])
    found = recall_measures(STEPS, old, new)
    assert (found["start"], found["trough"], found["trough_step"], found["recovered"]) == (0.8, 0.2, 20, 0.7)
    assert (found["end"], found["new_end"], found["last_step"]) == (0.5, 0.9, 80)
    np.testing.assert_allclose([found[key] for key in ("drop", "rebound", "erosion")], [0.6, 0.5, 0.2])
    np.testing.assert_allclose([found["forgetting_step"], found["learning_step"]], [15, 15])


def test_what_was_higher_before_the_trough_is_no_recovery_and_what_did_not_happen_has_no_step():
    found = recall_measures(STEPS, np.array([1.0, 0.9, 0.8, 0.7, 0.6]), np.full(5, 0.4))
    assert (found["trough"], found["trough_step"], found["rebound"], found["erosion"]) == (0.6, 80, 0.0, 0.0)
    assert found["forgetting_step"] is found["learning_step"] is None


def test_the_trough_is_after_fine_tuning_began():
    assert recall_measures(STEPS, np.array([0.5, 0.9, 0.8, 0.9, 0.9]), np.zeros(5))["trough"] == 0.8
