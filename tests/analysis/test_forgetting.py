"""Forgetting is measured where it was put, and never where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moefacts.analysis.forgetting import LEARNING, OLD, forgetting_measures, learning_measures, lowest_step
from moefacts.analysis.trough import NO_FALL, NO_RECOVERY, RECOVERS, find_trough
from tests.analysis.fine_tuned import BASELINE, fine_tuned

STEPS = [0, 1, 2, 5, 10, 20, 40, 60, 80, 100]
LEARNED = [0.0, 0.0, 0.0, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95]


def measured(old, **options):
    return forgetting_measures(fine_tuned(STEPS, LEARNED, seen=old, **options))["seen"]


def test_a_collapse_with_recovery_and_erosion():
    found = measured([0.98, 0.9, 0.7, 0.4, 0.2, 0.3, 0.6, 0.9, 0.8, 0.75])
    assert found["trough_status"] == RECOVERS
    assert (found["trough_step"], found["accuracy_at_trough"]) == (10, 0.2)
    assert found["loss_at_trough"] == pytest.approx(BASELINE * 0.8)
    assert (found["recovered_step"], found["accuracy_recovered"]) == (60, 0.9)
    assert found["recovery"] == pytest.approx(0.7)
    assert found["erosion"] == pytest.approx(0.15)
    assert found["recovery_is_significant"]
    assert found["erosion_is_significant"]
    assert (found["accuracy_before"], found["accuracy_at_end"]) == (0.98, 0.75)


def test_the_trough_is_the_one_that_recovered_even_if_erosion_goes_deeper():
    found = measured([0.98, 0.9, 0.7, 0.4, 0.5, 0.7, 0.9, 0.7, 0.5, 0.3])
    assert (found["trough_step"], found["recovered_step"]) == (5, 40)
    assert found["erosion"] == pytest.approx(0.6)


def test_a_monotone_decline_has_its_lowest_point_at_the_end():
    found = measured(list(np.linspace(0.95, 0.5, len(STEPS))))
    assert found["trough_status"] == NO_RECOVERY
    assert found["trough_step"] == 100
    assert found["recovery"] == found["erosion"] == 0
    assert not found["recovery_is_significant"]
    assert "may fall further" in found["trough_reason"]


@pytest.mark.parametrize("old", [[0.9] * 10, list(np.linspace(0.5, 0.7, 10))])
def test_without_a_decline_there_is_no_trough(old):
    found = measured(old)
    assert found["trough_status"] == NO_FALL
    assert "within its error" in found["trough_reason"]
    gone = ("trough_step", "accuracy_at_trough", "loss_at_trough", "recovered_step", "recovery", "erosion")
    assert {found[key] for key in (*gone, "retention_at_trough")} == {None}
    assert found["accuracy_at_end"] == old[-1]


def test_noise_alone_seldom_makes_a_trough():
    """The error of each evaluation is independent here, which is the worst case: 5% of runs, and not that of 1 in 2."""
    random = np.random.default_rng(0)
    falls = 0
    for _ in range(1000):
        curve = 0.9 + 0.01 * random.standard_normal(30)
        falls += find_trough(curve, np.full(30, 0.01)).status != NO_FALL
    assert falls <= 60


def test_a_fall_counts_from_its_error_on():
    """With two evaluations the quantile is that of a single one-sided test at 5%: 1.645."""
    error = np.array([0.03, 0.04])
    assert find_trough(np.array([0.9, 0.9 - 1.64 * 0.05]), error).status == NO_FALL
    assert find_trough(np.array([0.9, 0.9 - 1.65 * 0.05]), error).status == NO_RECOVERY


def test_the_recorded_error_decides_and_without_it_the_largest_possible_one():
    dip = [0.9, 0.9, 0.9, 0.88, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    assert measured(dip, error=0.02)["trough_status"] == NO_FALL
    assert measured(dip, error=0.001)["trough_status"] == RECOVERS
    assert measured(dip, error=None)["trough_step"] == 5  # √(0.9 · 0.1 / 10,000) = 0.003
    few = "evaluation.biographies=100"
    assert measured(dip, error=None, overrides=[few])["trough_status"] == NO_FALL


def test_old_accuracy_at_equal_new_accuracy_is_interpolated_or_absent_with_a_reason():
    found = measured([1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert found["accuracy_when_new_50"] == pytest.approx(0.7)
    assert found["accuracy_when_new_90"] == pytest.approx(0.5)
    assert found["accuracy_when_new_99"] is None
    assert found["accuracy_when_new_99_reason"] == "new people reached 95.0% at most, by step 100"
    run = fine_tuned([0, 10, 20], [0.0, 0.4, 0.6], seen=[1.0, 0.8, 0.4])
    assert learning_measures(run)["steps_to_50_new_accuracy"] == pytest.approx(15)
    assert forgetting_measures(run)["seen"]["accuracy_when_new_50"] == pytest.approx(0.6)


def test_retention_is_the_share_of_the_loss_below_the_baseline_that_is_left():
    losses = [1.0, 1.5, 2.0, 3.0, 5.0, 3.0, 2.0, 2.0, 2.0, 2.5]
    old = [0.98, 0.9, 0.7, 0.4, 0.2, 0.3, 0.6, 0.9, 0.8, 0.75]
    found = measured(old, losses=losses)
    assert found["retention_at_trough"] == pytest.approx((BASELINE - 5) / (BASELINE - 1))
    assert found["retention_at_end"] == pytest.approx((BASELINE - 2.5) / (BASELINE - 1))
    ignorant = measured([0.1] * 10, losses=[BASELINE] * 10)
    assert ignorant["retention_at_end"] is None
    assert "not below baseline" in ignorant["retention_reason"]


def test_only_cohorts_that_the_weights_had_seen_whole_are_old():
    cohorts = "population.cohorts={old: {stop: 24}, late: {start: 24}, some_new: {part_of: new, stop: 4}}"
    flat = [0.9] * 10
    options = {"overrides": [cohorts], "seen": flat, "old": flat, "late": flat, "some_new": flat}
    assert set(forgetting_measures(fine_tuned(STEPS, LEARNED, **options))) == {"seen", "old", "late"}
    part = fine_tuned(STEPS, LEARNED, seen_before=((12, 30), (0, 14)), **options)
    assert set(forgetting_measures(part)) == {"old"}
    twice = fine_tuned(STEPS, LEARNED, seen_before=((0, 48), (80, 84)), **options)
    assert set(forgetting_measures(twice)) == {"seen", "old", "late", "some_new"}
    assert forgetting_measures(twice)["some_new"]["learned_share"] == 1
    assert forgetting_measures(twice)["seen"]["learned_share"] == 0


def test_learning_seen_people_makes_the_others_old_and_names_the_overlap():
    overrides = ["population.cohorts={rare: {stop: 12}}", "sampling.cohort=rare", "evaluation.cohorts=[rare,seen]"]
    run = fine_tuned(STEPS, LEARNED, overrides=overrides, seen=[0.9] * 10, rare=LEARNED)
    (found,) = forgetting_measures(run).values()
    assert found["learned_share"] == 0.25
    assert learning_measures(run)["steps_to_50_new_accuracy"] == 40


def test_a_run_from_fresh_weights_has_no_such_measures():
    run = fine_tuned(STEPS, LEARNED, seen=[0.9] * 10)
    run.settings.init.run = None
    assert forgetting_measures(run) == {}


def test_every_measure_has_a_meaning():
    run = fine_tuned(STEPS, LEARNED, seen=[0.9] * 10)
    assert set(LEARNING) <= set(learning_measures(run))
    assert set(OLD) <= set(forgetting_measures(run)["seen"])


def test_the_lowest_step_is_that_of_the_trough():
    assert (
        lowest_step(fine_tuned(STEPS, LEARNED, seen=[0.98, 0.9, 0.4, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]), "seen") == 2
    )
    assert lowest_step(fine_tuned(STEPS, LEARNED, seen=[0.9] * 9 + [0.8999]), "seen") == 100


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12),
    st.floats(0, 0.2),
)
def test_a_trough_is_below_what_is_before_it_and_what_it_rises_to(accuracy, error):
    curve = np.array(accuracy)
    found = find_trough(curve, np.full(len(curve), error))
    assert curve[found.lowest] == curve.min()
    if found.status == NO_FALL:
        assert found.index is found.top is None
        return
    assert found.index <= found.top
    assert curve[found.index] < curve[0]
    assert curve[found.top] == curve[found.index :].max()
    assert (found.status == RECOVERS) == (curve[found.top] - curve[found.index] > found.rise_margin)
