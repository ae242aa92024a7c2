import re

import numpy as np
import pytest
from scipy.stats import chi2

from moefacts.errors import UserError
from moefacts.synthetic_data.distribution import Distribution
from moefacts.synthetic_data.weights import cumulative_table, inverse_power
from tests.conftest import tiny_config

KINDS = {
    "uniform": [],
    "power_law": ["sampling.exponent=0.8"],
    "celebrities": ["sampling.num_celebrities=6", "sampling.celebrity_weight=8"],
    "warmup": ["sampling.warmup_individuals=16", "sampling.warmup_epochs=1"],
    "sequential": ["sampling.num_groups=5", "sampling.num_repeats=2"],
    "adaptive": ["sampling.initial_individuals=12", "sampling.growth=2"],
    "replay": ["sampling.cohort=unseen", "sampling.replay_weight=0.25"],
    "leaving": ["sampling.leaving_step=6", "sampling.num_leaving=8"],
}
NUM_REPLAYED = 16


def distribution(kind, num_people=48, steps=20, **settings):
    overrides = KINDS[kind] if not settings else [f"sampling.{key}={value}" for key, value in settings.items()]
    config = tiny_config(
        f"population.size={num_people}", f"sampling.kind={kind}", f"training.steps={steps}", *overrides
    )
    return Distribution(config.sampling, num_people, steps, NUM_REPLAYED if kind == "replay" else 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0, 5, 6, 19])
def test_draws_follow_the_stated_probabilities(kind, step):
    dist = distribution(kind)
    drawn = np.concatenate([dist.draw(key, step, 8, None) for key in range(2500)])
    probability = dist.probability_P(step, 8)
    assert probability.sum() == pytest.approx(1, abs=1e-12)
    counts, expected = np.bincount(drawn, minlength=48), len(drawn) * probability
    assert counts[expected == 0].sum() == 0
    possible = expected > 0
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < chi2.ppf(0.999, possible.sum() - 1)


def test_probabilities_are_those_of_the_study():
    rank = np.arange(1, 49)
    power = distribution("power_law").probability_P(0, 8)
    assert power == pytest.approx(rank**-0.8 / (rank**-0.8).sum(), rel=1e-12)
    celebrities = distribution("celebrities").probability_P(0, 8)
    assert celebrities[:6] / celebrities[-1] == pytest.approx(np.full(6, 8.0), rel=1e-12)
    assert np.ptp(celebrities[6:]) < 1e-12
    replay = distribution("replay").probability_P(0, 8)  # P(old) = w·N_old / (w·N_old + N_new)
    assert replay[-NUM_REPLAYED:].sum() == pytest.approx(0.25 * 16 / (0.25 * 16 + 32), rel=1e-12)
    assert replay[-NUM_REPLAYED:] / replay[0] == pytest.approx(np.full(16, 0.25), rel=1e-12)
    assert np.ptp(replay[:-NUM_REPLAYED]) < 1e-12
    assert distribution("power_law", exponent=0).probability_P(0, 8) == pytest.approx(np.full(48, 1 / 48), rel=1e-12)


@pytest.mark.parametrize("exponent", [0, 0.2, 0.6, 1, 1.75, 3, 40])
def test_powers_made_of_square_roots_are_powers(exponent):
    rank = np.arange(1, 5001, dtype=float)
    assert inverse_power(5000, exponent) == pytest.approx(rank**-exponent, rel=1e-13)


def test_tables_are_the_same_numbers_on_every_machine():
    table = cumulative_table(inverse_power(1000, 0.6))
    golden = [122398639857895753, 203151626638063401, 3437866686058005870, 1 << 62]
    assert table[[0, 1, 499, 999]].tolist() == golden


def test_even_the_most_uneven_weights_make_a_table_that_never_falls_and_ends_at_its_total():
    for weight in (inverse_power(1000, 60), np.r_[1e-300, np.ones(999)], np.r_[1e300, np.ones(999)]):
        table = cumulative_table(weight)
        assert (np.diff(table) >= 0).all()
        assert table[0] == pytest.approx((1 << 62) * (weight[0] / weight.sum()), rel=1e-12, abs=0.5)
        assert table[-1] == 1 << 62


def test_the_warm_up_ends_after_exactly_its_epochs():
    dist = distribution("warmup", warmup_individuals=16, warmup_epochs=2.5)  # 120 biographies: 15 steps of 8
    largest = [max(dist.draw(key, step, 8, None).max() for key in range(60)) for step in range(20)]
    assert [value >= 16 for value in largest] == [False] * 15 + [True] * 5
    assert dist.probability_P(14, 8)[16:].sum() == 0
    assert dist.probability_P(15, 8) == pytest.approx(np.full(48, 1 / 48))


def test_people_leave_at_exactly_their_step_and_nothing_changes_before_it():
    dist, uniform = distribution("leaving"), distribution("uniform")
    for step in range(6):
        for key in range(20):
            assert np.array_equal(dist.draw(key, step, 8, None), uniform.draw(key, step, 8, None))
    assert dist.probability_P(5, 8) == pytest.approx(np.full(48, 1 / 48))
    for step in range(6, 20):
        assert dist.probability_P(step, 8) == pytest.approx(np.r_[np.full(40, 1 / 40), np.zeros(8)])


@pytest.mark.parametrize("num_repeats", [2, 4, 8])
def test_two_groups_alternate_as_often_as_they_are_to_be_visited(num_repeats):
    """The study's Figures W and X."""
    dist = distribution("sequential", steps=160, num_groups=2, num_repeats=num_repeats)
    shown = [[name for name, people in dist.buckets().items() if set(dist.support(step, 8, None)) & set(people)]
             for step in range(160)]  # fmt: skip
    each = 160 // (2 * num_repeats)
    assert shown == ([["group_0"]] * each + [["group_1"]] * each) * num_repeats
    assert dist.buckets() == {"group_0": range(24), "group_1": range(24, 48)}


def test_groups_come_in_order_repeatedly_and_with_equal_shares():
    dist = distribution("sequential", steps=26, num_groups=4, num_repeats=3)
    visited = []
    for step in range(26):
        people = np.flatnonzero(dist.probability_P(step, 8))
        assert people.tolist() == list(range(people[0], people[0] + 12))
        visited.append(int(people[0]) // 12)
    starts = [0] + [step for step in range(1, 26) if visited[step] != visited[step - 1]]
    assert [visited[step] for step in starts] == [0, 1, 2, 3] * 3
    assert set(np.diff([*starts, 26])) == {2, 3}


def test_groups_of_unequal_size_hold_everybody_once():
    groups = list(distribution("sequential", num_groups=7, num_repeats=1).buckets().values())
    assert [i for group in groups for i in group] == list(range(48))
    assert {len(group) for group in groups} == {6, 7}


def test_after_the_end_of_training_the_last_group_stays():
    dist = distribution("sequential")
    assert np.array_equal(dist.probability_P(20, 8), dist.probability_P(19, 8))


def test_an_adaptive_curriculum_widens_by_its_factor_and_ends_with_everybody():
    assert [distribution("adaptive").num_active(n) for n in range(5)] == [12, 24, 48, 48, 48]
    assert [distribution("adaptive", initial_individuals=12).num_active(n) for n in range(3)] == [12, 48, 48]
    slow = distribution("adaptive", initial_individuals=1, growth=1.01)
    assert [slow.num_active(n) for n in range(4)] == [1, 2, 3, 4]
    assert distribution("uniform").num_active(3) is None


def test_an_adaptive_draw_stays_within_the_active_people():
    dist = distribution("adaptive")
    for num_active, expected in ((None, 12), (24, 24), (48, 48)):
        drawn = np.concatenate([dist.draw(key, 0, 8, num_active) for key in range(200)])
        assert set(drawn) == set(range(expected))
        assert np.count_nonzero(dist.probability_P(0, 8, num_active)) == expected


def test_draws_are_a_function_of_key_and_step():
    for kind in KINDS:
        dist, same = distribution(kind), distribution(kind)
        assert np.array_equal(dist.draw(3, 4, 32, None), same.draw(3, 4, 32, None))
        assert not np.array_equal(dist.draw(3, 4, 32, None), dist.draw(4, 4, 32, None))


@pytest.mark.parametrize("kind", KINDS)
def test_buckets_divide_the_people(kind):
    buckets = distribution(kind).buckets()
    assert [i for people in buckets.values() for i in people] == ([] if kind == "uniform" else list(range(48)))


def test_buckets_have_the_names_of_their_kind():
    assert distribution("power_law").buckets() == {"head": range(16), "middle": range(16, 32), "tail": range(32, 48)}
    assert distribution("celebrities").buckets() == {"celebrities": range(6), "rest": range(6, 48)}
    assert distribution("warmup").buckets() == {"inside": range(16), "outside": range(16, 48)}
    assert distribution("replay").buckets() == {"current": range(32), "replayed": range(32, 48)}
    assert distribution("leaving").buckets() == {"staying": range(40), "leaving": range(40, 48)}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("kind=zipf", "sampling.kind=zipf is not a valid value"),
        ("kind=power_law", "sampling.kind=power_law needs sampling.exponent"),
        ("kind=power_law exponent=-1", "sampling.exponent=-1.0 is too small"),
        ("kind=power_law exponent=inf", "sampling.exponent=inf must be finite"),
        ("kind=power_law exponent=nan", "sampling.exponent=nan must be finite"),
        ("kind=celebrities num_celebrities=48 celebrity_weight=8", "must be at most 47"),
        ("kind=celebrities num_celebrities=0 celebrity_weight=8", "sampling.num_celebrities=0 is too small"),
        ("kind=celebrities num_celebrities=4 celebrity_weight=0", "must be above 0"),
        ("kind=warmup warmup_individuals=49 warmup_epochs=2", "sampling.warmup_individuals=49 is too large"),
        ("kind=warmup warmup_individuals=16 warmup_epochs=-2", "sampling.warmup_epochs=-2.0 is too small"),
        ("kind=warmup warmup_epochs=2", "needs sampling.warmup_individuals"),
        ("kind=sequential num_groups=49 num_repeats=1", "sampling.num_groups=49 is too large for the 48 people"),
        ("kind=sequential num_groups=4 num_repeats=4", "makes 16 visits, more than training.steps=12"),
        ("kind=adaptive initial_individuals=49", "sampling.initial_individuals=49 is too large"),
        ("kind=adaptive initial_individuals=12 growth=1", "sampling.growth=1.0 is too small; it must be above 1"),
        ("kind=replay cohort=new", "sampling.kind=replay needs sampling.replay_weight"),
        ("kind=replay cohort=new replay_weight=0", "sampling.replay_weight=0.0 is too small; it must be above 0"),
        ("kind=replay replay_weight=1", "sampling.cohort=seen and sampling.replay_cohort=seen share 48 people"),
        ("kind=replay cohort=new replay_weight=1 replay_cohort=sen", "cohort=sen is not a valid value"),
        ("cohort=new replay_cohort=seen", "sampling.replay_cohort=seen has no effect with sampling.kind=uniform"),
        ("kind=leaving leaving_step=6", "sampling.kind=leaving needs sampling.num_leaving"),
        ("kind=leaving leaving_step=6 num_leaving=48", "sampling.num_leaving=48 is too large for the 48 people"),
        ("kind=leaving leaving_step=12 num_leaving=8", "sampling.leaving_step=12 must be at least 1 and less than"),
        ("kind=leaving leaving_step=0 num_leaving=8", "sampling.leaving_step=0 must be at least 1 and less than"),
        ("exponent=0.5", "sampling.exponent=0.5 has no effect with sampling.kind=uniform"),
        ("templates_per_individual=0", "sampling.templates_per_individual=0 is too small"),
    ],
)
def test_an_impossible_setting_gets_one_line(overrides, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        tiny_config(*(f"sampling.{override}" for override in overrides.split()))
    assert "\n" not in str(caught.value)
