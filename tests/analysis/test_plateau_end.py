import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moefacts.analysis.plateau_end import CANNOT_TELL, NOT_REACHED, REACHED, find_plateau_end

BASELINE, THRESHOLD = 5.0, 0.99
LEVEL = BASELINE * THRESHOLD


def curve(step, leaves, slope=0.01):
    """A loss that falls to 1.03 baselines at step 60 and crosses the threshold at ``leaves`` by ``slope`` per step."""
    plateau = 1.03 * BASELINE
    end = leaves - (plateau - LEVEL) / slope
    falling = np.where(step < 60, 10 - (10 - plateau) * step / 60, plateau)
    return np.where(step > end, np.maximum(plateau - slope * (step - end), 0.01), falling)


def find(step, loss, error=0.0):
    return find_plateau_end(step, loss, np.full(len(step), error), BASELINE, THRESHOLD)


@given(leaves=st.integers(150, 2000), slope=st.floats(0.005, 0.05), spacing=st.integers(5, 25))
def test_a_clean_curve_gives_its_crossing(leaves, slope, spacing):
    step = np.arange(0, leaves + 300, spacing)
    end = find(step, curve(step, leaves, slope))
    assert end.status == REACHED
    assert end.step == pytest.approx(leaves, abs=spacing)
    assert 0 <= end.first_below - leaves <= spacing


def test_the_interval_covers_the_truth_as_often_as_it_says():
    step, leaves, error = np.arange(0, 900, 10), 500, 0.02
    clean, random = curve(step, leaves), np.random.default_rng(0)
    # All evaluations of a run share their error, because they use the same people.
    ends = [find(step, clean + error * random.standard_normal(), error) for _ in range(400)]
    assert all(end.status == REACHED for end in ends)
    assert 0.92 <= np.mean([end.low <= leaves <= end.high for end in ends]) <= 0.98


def test_noise_from_one_evaluation_to_the_next_is_covered_too():
    step, leaves, error = np.arange(0, 900, 10), 500, 0.02
    clean, random = curve(step, leaves), np.random.default_rng(1)
    ends = [find(step, clean + error * random.standard_normal(len(step)), error) for _ in range(400)]
    reached = [end for end in ends if end.status == REACHED]
    assert len(reached) > 390
    assert np.mean([end.low <= leaves <= end.high for end in reached]) > 0.92


def test_more_noise_gives_a_wider_interval_and_in_the_end_none():
    step = np.arange(0, 1200, 10)
    loss = curve(step, 500, slope=0.002)
    widths = [(end := find(step, loss, error)).high - end.low for error in (0.0, 0.02, 0.05)]
    assert widths == sorted(widths)
    assert widths[0] == 0
    assert find(step, loss, 0.15).status == CANNOT_TELL


def test_a_curve_that_never_leaves_its_plateau_is_not_reached():
    step = np.arange(0, 1000, 10)
    end = find(step, curve(step, 5000), 0.01)
    assert (end.status, end.step, end.first_below) == (NOT_REACHED, None, None)


def test_a_plateau_within_noise_of_the_threshold_has_an_undetermined_end():
    step = np.arange(0, 1000, 10)
    loss = np.where(step < 60, 8.0, LEVEL + 0.01)
    assert find(step, loss, 0.02).status == CANNOT_TELL  # it may or may not be below
    dips = loss.copy()
    dips[30] = LEVEL - 0.01  # one evaluation below the threshold, within noise
    end = find(step, dips, 0.02)
    assert (end.status, end.step, end.first_below) == (CANNOT_TELL, None, 300)


def test_an_early_dip_does_not_hide_that_the_interval_is_too_wide():
    step = np.arange(0, 1000, 10)
    loss = np.where(step < 60, 8.0, np.where(step < 700, LEVEL + 0.05, 2.0))
    loss[20] = LEVEL - 0.01
    end = find(step, loss, 0.001)
    assert end.status == CANNOT_TELL
    assert "between steps" in end.reason


@pytest.mark.parametrize(("spacing", "status"), [(20, REACHED), (100, CANNOT_TELL)])
def test_evaluations_too_far_apart_do_not_determine_the_end(spacing, status):
    step = np.arange(0, 800, spacing)
    end = find(step, curve(step, 250))
    assert end.status == status
    assert ("too sparse" in end.reason) == (status == CANNOT_TELL)


def test_a_curve_that_begins_below_the_threshold_has_an_undetermined_end():
    step = np.arange(0, 100, 10)
    assert find(step, np.full(10, 3.0)).status == CANNOT_TELL
    assert find(step, np.full(10, LEVEL + 0.01), 0.02).status == CANNOT_TELL


def test_a_run_that_stops_just_below_the_threshold_has_an_undetermined_end():
    step = np.arange(0, 511, 10)
    assert find(step, curve(step, 505, slope=0.002), 0.02).status == CANNOT_TELL


def test_a_late_spike_does_not_move_an_end_that_was_clear():
    step = np.arange(0, 1500, 10)
    loss = curve(step, 500)
    loss[-3] = 2 * BASELINE
    assert find(step, loss, 0.01).status == REACHED


def test_on_a_straight_line_the_interval_is_the_error_over_the_slope():
    step = np.arange(0, 900, 10)
    end = find(step, curve(step, 505, slope=0.01), 0.02)
    assert (end.step, end.low, end.high) == pytest.approx((505, 505 - 1.96 * 2, 505 + 1.96 * 2))
    assert end.standard_error == pytest.approx(2)


def decide(step, loss, error=0.0):
    """Find the end of a plateau whose threshold is exactly 2 nats."""
    return find_plateau_end(np.array(step), np.array(loss), np.full(len(step), error), 4.0, 0.5)


@pytest.mark.parametrize(
    ("step", "loss", "error", "status", "reason", "first"),
    [
        ([0, 10, 20], [3.0, 2.5, 2.5], 0.1, NOT_REACHED, "the loss never fell below the threshold", None),
        ([0, 10, 20], [1.0, 0.5, 0.1], 0.0, CANNOT_TELL, "the loss begins below the threshold, or within noise of it", 0),
        ([5, 10, 20], [2.1, 1.5, 0.1], 0.1, CANNOT_TELL, "the loss begins below the threshold, or within noise of it", 10),
        ([0, 10, 20], [3.0, 2.5, 1.9], 0.1, CANNOT_TELL, "the loss ends within noise of the threshold", 20),
        ([0, 10, 20], [3.0, 2.5, 2.1], 0.1, CANNOT_TELL, "the loss ends within noise of the threshold", None),
        ([0, 100, 200], [3.0, 2.5, 1.5], 0.0, CANNOT_TELL, "evaluations are too sparse: 100 steps apart where the plateau ends", 200),
        ([0, 350, 450], [3.0, 3.0, 1.0], 0.0, REACHED, "", 450),  # 100 steps apart at an end of 400: exactly a quarter
    ],
)  # fmt: skip
def test_every_answer_has_its_reason_and_the_first_evaluation_below(step, loss, error, status, reason, first):
    end = decide(step, loss, error)
    assert (end.status, end.reason, end.first_below) == (status, reason, first)


def test_an_interval_that_is_too_wide_is_named_in_steps():
    step = np.arange(0, 801, 50)
    end = decide(step, 2 + (400 - step) * 0.01, 1.1 / 1.96)
    assert (end.status, end.first_below) == (CANNOT_TELL, 450)
    assert end.reason == "the loss hovers within noise of the threshold between steps 290 and 510"
    assert decide(step, 2 + (400 - step) * 0.01, 0.9 / 1.96).status == REACHED


def test_an_evaluation_at_the_threshold_is_not_below_it():
    step = np.arange(0, 601, 20)
    loss = np.where(step < 500, 3.0, 1.0)
    loss[25:28] = [1.5, 2.0, 1.5]  # below, at the threshold, below: it stays below from 540 on
    end = decide(step, loss)
    assert end.step == pytest.approx(480 + 20 / 1.5)
    assert end.high == pytest.approx(540 - 20)


@given(leaves=st.integers(100, 1500), spacing=st.integers(10, 400), last=st.integers(50, 1200), error=st.floats(0, 0.1))
@example(leaves=100, spacing=104, last=50, error=0.0625)  # between two evaluations the line is not the curve
def test_whatever_the_status_the_end_lies_between_its_bounds(leaves, spacing, last, error):
    step = np.arange(0, last + spacing, spacing)
    end = find(step, curve(step, leaves), error)
    assert end.earliest <= leaves + 1e-6 or end.status == REACHED  # where it is interpolated
    assert end.latest is None or leaves <= end.latest + 1e-6 or end.status == REACHED
    if end.status == REACHED:
        assert end.earliest == end.step == end.latest
    if end.status == NOT_REACHED:
        assert (end.earliest, end.latest) == (step[-1], None)
