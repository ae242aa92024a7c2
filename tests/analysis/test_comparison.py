import math

import numpy as np
import pytest
from scipy import stats

from moefacts.analysis.comparison import paired_difference

OURS = {(512, 0): 3.0, (512, 1): 5.0, (1024, 2): 9.0, (1024, 3): 4.0}
THEIRS = {(512, 0): 1.0, (512, 1): 2.0, (1024, 2): 3.0, (1024, 3): 4.0}
DIFFERENCES = [2.0, 3.0, 6.0, 0.0]


def test_the_mean_of_the_differences_has_the_interval_of_a_paired_t_test():
    pair = paired_difference(OURS, THEIRS)
    expected = stats.ttest_rel(list(OURS.values()), list(THEIRS.values())).confidence_interval(0.95)
    assert pair.mean == np.mean(DIFFERENCES) == 2.75
    assert pair.interval == pytest.approx((expected.low, expected.high))
    assert (pair.count, pair.missing) == (4, 0)


def test_ours_comes_first():
    forth, back = paired_difference(OURS, THEIRS), paired_difference(THEIRS, OURS)
    assert back.mean == -forth.mean
    assert back.interval == pytest.approx((-forth.interval[1], -forth.interval[0]))


def test_what_both_runs_of_a_pair_share_cancels():
    """Without pairs, the spread between sizes would hide the difference that every pair shows."""
    theirs = {key: 100.0 * number for number, key in enumerate(OURS)}
    ours = {key: value + 1.0 for key, value in theirs.items()}
    assert paired_difference(ours, theirs).interval == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("side", ["ours", "theirs", "both"])
def test_a_pair_that_lacks_a_number_is_counted_as_missing_and_left_out(side):
    lost = {(512, 1): None}
    pair = paired_difference(OURS | (lost if side != "theirs" else {}), THEIRS | (lost if side != "ours" else {}))
    low, high = stats.t.interval(0.95, 2, loc=8 / 3, scale=stats.sem([2.0, 6.0, 0.0]))
    assert (pair.mean, *pair.interval) == pytest.approx((8 / 3, low, high))
    assert (pair.count, pair.missing) == (3, 1)


def test_keys_that_only_one_side_has_are_ignored():
    pair = paired_difference(OURS | {(2048, 0): 1e9}, THEIRS | {(4096, 0): -1e9})
    assert (pair.mean, pair.count, pair.missing) == (2.75, 4, 0)


def test_the_order_in_which_the_runs_were_read_does_not_matter():
    backwards = dict(reversed(THEIRS.items()))
    assert paired_difference(OURS, backwards) == paired_difference(OURS, THEIRS)


def test_keys_need_not_be_comparable_with_each_other():
    assert paired_difference({("moe", 1): 1.0, 7: 2.0}, {7: 0.0, ("moe", 1): 0.0}).mean == 1.5


def test_a_custom_difference_is_called_with_ours_and_theirs():
    pair = paired_difference({0: 8.0, 1: 2.0}, {0: 2.0, 1: 2.0}, lambda ours, theirs: math.log2(ours / theirs))
    assert pair.mean == 1.0


def test_one_pair_has_no_interval():
    pair = paired_difference({0: 3.0}, {0: 1.0})
    assert (pair.mean, pair.interval, pair.count) == (2.0, None, 1)


@pytest.mark.parametrize(("ours", "theirs"), [({}, {}), ({0: 1.0}, {1: 1.0}), ({0: None}, {0: 1.0})])
def test_without_a_pair_there_is_no_difference(ours, theirs):
    assert paired_difference(ours, theirs) is None


def test_an_event_that_only_the_others_did_not_reach_speaks_against_them_with_its_bound():
    """Three pairs are earlier; in the fourth, theirs had not come by step 50."""
    ours, theirs = {0: 10.0, 1: 11.0, 2: 12.0, 3: 20.0}, {0: 40.0, 1: 42.0, 2: 40.0, 3: (50.0, math.inf)}
    pair = paired_difference(ours, theirs)
    bounded = paired_difference(ours, theirs | {3: 50.0})
    assert (pair.mean, pair.interval[1]) == (bounded.mean, bounded.interval[1])
    assert pair.interval[0] == -math.inf
    assert (pair.count, pair.missing, pair.censored) == (4, 0, 1)


def test_an_event_that_ours_did_not_reach_leaves_their_advantage_open():
    ours, theirs = {0: 10.0, 1: 11.0, 2: (12.0, math.inf)}, {0: 40.0, 1: 42.0, 2: 40.0}
    assert paired_difference({0: 10.0, 1: 11.0}, theirs).interval[1] < 0  # as if the pair did not count
    assert paired_difference(ours, theirs).interval[1] == math.inf


def test_a_pair_in_which_neither_reached_it_could_be_anything():
    pair = paired_difference({0: 1.0, 1: 2.0, 2: (9.0, math.inf)}, {0: 5.0, 1: 7.0, 2: (9.0, math.inf)})
    assert pair.interval == (-math.inf, math.inf)
    assert (pair.mean, pair.count, pair.censored) == (-4.5, 2, 1)
    assert paired_difference({2: (9.0, math.inf)}, {2: (9.0, math.inf)}) is None


def test_bounds_on_both_sides_widen_the_interval_and_shift_nothing():
    exact = paired_difference({0: 1.0, 1: 2.0, 2: 4.0}, dict.fromkeys(range(3), 0.0))
    vague = paired_difference({0: 1.0, 1: (1.5, 2.5), 2: 4.0}, dict.fromkeys(range(3), 0.0))
    assert vague.mean == exact.mean
    lowest, highest = (stats.t.interval(0.95, 2, np.mean(x), stats.sem(x)) for x in ((1, 1.5, 4), (1, 2.5, 4)))
    assert vague.interval == pytest.approx((lowest[0], highest[1]))


def test_pairs_that_share_a_seed_are_one_cluster():
    """With one seed, a small population is the beginning of a larger one: two sizes are no two observations."""
    ours = {(512, 0): 1.0, (1024, 0): 3.0, (512, 1): 5.0, (1024, 1): 7.0, (512, 2): 2.0}
    pair = paired_difference(ours, dict.fromkeys(ours, 0.0))
    low, high = stats.t.interval(0.95, 2, loc=10 / 3, scale=stats.sem([2.0, 6.0, 2.0]))
    assert (pair.mean, *pair.interval) == pytest.approx((10 / 3, low, high))
    assert (pair.count, pair.clusters) == (5, 3)
    independent = {(512, 0): 1.0, (1024, 1): 3.0, (512, 2): 5.0, (1024, 3): 7.0}
    assert paired_difference(independent, dict.fromkeys(independent, 0.0)).clusters is None


def test_with_one_seed_there_is_no_interval_however_many_pairs():
    pair = paired_difference({(512, 0): 1.0, (1024, 0): 2.0}, {(512, 0): 0.0, (1024, 0): 0.0})
    assert (pair.mean, pair.interval, pair.count, pair.clusters) == (1.5, None, 2, 1)
