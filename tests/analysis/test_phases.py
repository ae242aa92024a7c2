import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moefacts.analysis.phases import find_phases, steps_to_accuracy

BASELINE = 5.0


def curve(step, start, end, slope=0.01, noise=0.0, seed=0):
    """A loss that falls to 1.03 baselines at ``start``, stays there, and falls from ``end`` by ``slope`` per step."""
    plateau = 1.03 * BASELINE
    loss = np.where(step < start, plateau + (10 - plateau) * (1 - step / start), plateau)
    loss = np.where(step > end, np.maximum(plateau - slope * (step - end), 0.01), loss)
    return loss + noise * np.random.default_rng(seed).standard_normal(len(step))


@given(start=st.integers(50, 300), length=st.integers(50, 2000), slope=st.floats(0.002, 0.05))
def test_known_phases_are_recovered(start, length, slope):
    end = start + length
    step = np.arange(0, end + 2000, 25)
    phases = find_phases(step, curve(step, start, end, slope), BASELINE)
    # The exact crossings of 1.1 baselines before the plateau and of 0.99 baselines after it.
    enters = start * (1 - (1.1 - 1.03) * BASELINE / (10 - 1.03 * BASELINE))
    leaves = end + (1.03 - 0.99) * BASELINE / slope
    assert phases.plateau_start == pytest.approx(enters, abs=25)
    assert phases.plateau_start_low <= enters <= phases.plateau_start_high
    assert phases.plateau_start_high - phases.plateau_start_low == 25
    assert 0 <= phases.plateau_end - leaves <= 25
    assert phases.plateau_end_interpolated == pytest.approx(leaves, abs=25)
    assert phases.plateau_length == phases.plateau_end_interpolated - phases.plateau_start


def test_the_interpolated_crossing_is_exact_on_a_straight_line():
    step = np.array([0, 100, 200, 300])
    loss = np.array([8.0, 5.2, 5.1, 4.1])
    assert find_phases(step, loss, BASELINE).plateau_end_interpolated == pytest.approx(200 + 100 * (5.1 - 4.95) / 1.0)


def test_noise_of_the_size_of_our_evaluations_moves_the_end_little():
    step = np.arange(0, 2000, 25)
    ends = [find_phases(step, curve(step, 100, 800, noise=0.01, seed=s), BASELINE).plateau_end for s in range(50)]
    assert max(ends) - min(ends) <= 25


def test_a_plateau_above_the_baseline_is_not_taken_for_its_end():
    step = np.arange(0, 1000, 25)
    phases = find_phases(step, curve(step, 100, 5000), BASELINE)
    assert (phases.plateau_end, phases.plateau_end_interpolated, phases.plateau_length) == (None, None, None)
    assert phases.plateau_start_low < 100 == phases.plateau_start_high


def test_the_start_lies_between_two_evaluations_and_noise_widens_that():
    step, loss = np.array([0, 10, 20, 30, 40]), np.array([9.0, 5.56, 5.4, 5.2, 5.1])  # the ceiling is 5.5
    sure, noisy, lost = (find_phases(step, loss, BASELINE, 0.99, error) for error in (0.0, 0.1, 1.0))
    assert sure.plateau_start == noisy.plateau_start == pytest.approx(10 + 10 * 0.06 / 0.16)
    assert (sure.plateau_start_low, sure.plateau_start_high) == (10, 20)
    assert (noisy.plateau_start_low, noisy.plateau_start_high) == (0, 30)
    assert lost.plateau_start_high == 40  # never surely below


def test_a_run_that_never_comes_near_the_baseline_has_no_plateau():
    step = np.arange(0, 100, 25)
    assert find_phases(step, np.full(4, 9.0), BASELINE).plateau_start is None


def test_the_threshold_is_configurable():
    step = np.arange(0, 1000, 25)
    loss = curve(step, 100, 400)
    ends = [find_phases(step, loss, BASELINE, threshold).plateau_end for threshold in (0.99, 0.9, 0.5)]
    assert ends == sorted(ends)
    assert len(set(ends)) == 3


def test_steps_to_accuracy_interpolate():
    step, accuracy = np.array([0, 100, 200]), np.array([0.0, 0.4, 0.8])
    assert steps_to_accuracy(step, accuracy, 0.5) == pytest.approx(125)
    assert steps_to_accuracy(step, accuracy, 0.9) is None
