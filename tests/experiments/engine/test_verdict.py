import numpy as np
import pytest
from scipy import stats

from moefacts.experiments.engine.verdict import (
    CANNOT_TELL,
    DOES_NOT_HOLD,
    HOLDS,
    Verdict,
    above,
    below,
    cannot_tell,
    within,
)


@pytest.mark.parametrize(
    ("interval", "answer"),
    [((0.72, 0.9), HOLDS), ((0.6, 0.9), CANNOT_TELL), ((0.8, 1.2), CANNOT_TELL), ((0.5, 0.69), DOES_NOT_HOLD),
     ((0.92, 1.2), DOES_NOT_HOLD), ((0.1, 2.0), CANNOT_TELL), (None, CANNOT_TELL)],
)  # fmt: skip
def test_an_interval_decides_only_when_it_lies_on_one_side(interval, answer):
    assert within(0.8, interval, 0.7, 0.91).answer == answer


def test_above_and_below_mirror_each_other():
    for interval in ((-2.0, -1.0), (-1.0, 1.0), (1.0, 2.0)):
        mirrored = (-interval[1], -interval[0])
        assert above(0.0, interval, 0.0).answer == below(0.0, mirrored, 0.0).answer
    assert above(0.0, (0.0, 0.0), 0.0).answer == below(0.0, (0.0, 0.0), 0.0).answer == CANNOT_TELL
    assert above(1.5, (1.0, 2.0), 0.0).answer == HOLDS
    assert above(-1.5, (-2.0, -1.0), 0.0).answer == DOES_NOT_HOLD


def test_the_number_and_its_interval_are_in_the_text():
    verdict = within(0.8123, (0.71, 0.9), 0.7, 0.91)
    assert (verdict.here, verdict.value, verdict.interval) == ("0.812 [0.71, 0.9]", 0.8123, (0.71, 0.9))


@pytest.mark.parametrize(
    ("interval", "answer"),
    [
        ((0.7, 0.91), HOLDS),  # the bounds are inside
        ((0.69999, 0.8), CANNOT_TELL),
        ((0.8, 0.91001), CANNOT_TELL),
        ((0.5, 0.7), CANNOT_TELL),  # touching is not outside
        ((0.91, 1.2), CANNOT_TELL),
        ((0.5, 0.69999), DOES_NOT_HOLD),
        ((0.91001, 1.2), DOES_NOT_HOLD),
    ],
)
def test_within_counts_its_bounds_as_inside(interval, answer):
    assert within(0.8, interval, 0.7, 0.91).answer == answer


@pytest.mark.parametrize(
    ("interval", "is_above", "is_below"),
    [
        ((0.5, 0.7), CANNOT_TELL, CANNOT_TELL),  # touching from below
        ((0.5, 0.69999), DOES_NOT_HOLD, HOLDS),
        ((0.7, 0.9), CANNOT_TELL, CANNOT_TELL),  # touching from above
        ((0.70001, 0.9), HOLDS, DOES_NOT_HOLD),
        ((0.6, 0.8), CANNOT_TELL, CANNOT_TELL),
    ],
)
def test_an_interval_that_touches_the_bound_is_on_neither_side(interval, is_above, is_below):
    assert (above(0.7, interval, 0.7).answer, below(0.7, interval, 0.7).answer) == (is_above, is_below)


@pytest.mark.parametrize(
    "decide", [lambda v, i: within(v, i, 0, 1), lambda v, i: above(v, i, 0), lambda v, i: below(v, i, 0)]
)
def test_without_an_interval_the_number_is_shown_and_nothing_decided(decide):
    verdict = decide(0.25, None)
    assert (verdict.answer, verdict.value, verdict.interval) == (CANNOT_TELL, 0.25, None)
    assert verdict.here == "0.25 (no interval: too few seeds)"


def test_thousands_have_no_fraction_and_other_numbers_three_digits():
    assert above(1000.4, (-1000, 12345.6), 0.0).here == "1,000 [-1,000, 12,346]"
    assert above(1000, (1000, 1000), 0.0).here == "1,000 [1,000, 1,000]"
    assert above(999.6, (0.012345, 2.0), 0.0).here == "1e+03 [0.0123, 2]"


def test_cannot_tell_says_why():
    assert cannot_tell("no pair") == Verdict(CANNOT_TELL, "no pair", None, None)


@pytest.mark.parametrize("bound", [0.9, 1.4, 2.0, 2.6])
def test_the_p_value_is_that_of_students_t_test_against_the_bound(bound):
    values = [1.0, 2.0, 4.0, 1.5]
    mean, interval = np.mean(values), stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    expected = stats.ttest_1samp(values, bound).pvalue
    for decide in (above, below):
        assert decide(mean, interval, bound, count=4).p_value == pytest.approx(expected)
        assert decide(mean, interval, bound).p_value is None
        assert decide(mean, None, bound, count=1).p_value is None


@pytest.mark.parametrize("interval", [(0.71, 0.9), (0.69, 0.9), (0.75, 0.92), (0.5, 0.69), (0.6, 0.95), (0.92, 1.5)])
def test_an_answer_is_given_exactly_when_the_p_value_against_the_nearer_bound_is_below_5_percent(interval):
    middle = sum(interval) / 2
    verdict = within(middle, interval, 0.7, 0.91, count=5)
    assert (verdict.answer != CANNOT_TELL) == (verdict.p_value < 0.05)
    one_sided = within(middle, interval, -np.inf, 0.91, count=5)
    assert one_sided == below(middle, interval, 0.91, count=5)


def test_numbers_that_are_all_equal_differ_from_the_bound_for_certain_or_not_at_all():
    assert above(1.0, (1.0, 1.0), 0.0, count=3).p_value == 0.0
    assert above(0.0, (0.0, 0.0), 0.0, count=3).p_value == 1.0


def test_a_bound_that_is_not_known_is_infinite_in_signs_not_in_words():
    """Of runs that never reach something only the earliest step is known."""
    assert below(-0.729, (-np.inf, -0.65), 0.0).here == "-0.729 [-∞, -0.65]"
    assert above(0.32, (0.204, np.inf), 0.0).here == "0.32 [0.204, ∞]"
