"""Whom replay, leaving and alternating groups show, as individuals of a population."""

import numpy as np
import pytest
import torch

from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import training_distribution, training_people, training_plan
from tests.conftest import tiny_config

COHORTS = "population.cohorts={few:{part_of:seen,start:10,stop:20},some:{part_of:new,start:2}}"
REPLAY = (COHORTS, "sampling.kind=replay", "sampling.cohort=some", "sampling.replay_weight=0.5")


def sampling(*overrides):
    """The configuration of sampling, and its distribution."""
    config = tiny_config(*overrides)
    return config, training_distribution(config.sampling, build_population(config.population, 0), config.training.steps)


def batcher_of(batcher, config, distribution):
    population = build_population(config.population, 0)
    return Batcher(population, batcher.tokenizer, torch.device("cpu"), distribution)


@pytest.mark.parametrize(("overrides", "replayed"), [((), range(48)), (("sampling.replay_cohort=few",), range(10, 20))])
def test_replay_shows_the_people_of_both_cohorts_at_their_weights(population, batcher, overrides, replayed):
    config, distribution = sampling(*REPLAY, *overrides)
    people = build_population(config.population, 0)
    new = people.cohort("some")
    assert new == range(82, 88)
    shown = np.concatenate([training_people(people, step, 100, distribution) for step in range(100)])
    assert set(shown) <= {*new, *replayed}
    share, expected = np.isin(shown, replayed).mean(), 0.5 * len(replayed) / (0.5 * len(replayed) + len(new))
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(shown))
    counts = np.bincount(shown, minlength=88)
    assert counts[new].std() < 4 * np.sqrt(counts[new].mean())
    assert batcher_of(batcher, config, distribution).buckets() == {"current": new, "replayed": replayed}


def test_replay_says_which_cohorts_it_draws_from(batcher):
    config, distribution = sampling(*REPLAY, "sampling.replay_cohort=few")
    ours = batcher_of(batcher, config, distribution)
    assert (ours.cohort, ours.cohorts) == ("some", ("some", "few"))
    assert config.sampling.describe() == (
        "sampling.kind=replay sampling.replay_weight=0.5 sampling.replay_cohort=few sampling.cohort=some"
    )
    assert (batcher.cohort, batcher.cohorts) == ("seen", ("seen",))


def test_batches_before_people_leave_are_those_of_uniform_bit_for_bit(population):
    _, leaving = sampling("sampling.kind=leaving", "sampling.leaving_step=6", "sampling.num_leaving=8")
    _, uniform = sampling()
    for step in range(6):
        plans = [training_plan(population, step, 64, one) for one in (leaving, uniform)]
        for column in ("individual_B", "attribute_BA", "template_BA"):
            assert np.array_equal(*(getattr(plan, column) for plan in plans))
    after = {int(i) for step in range(6, 60) for i in training_people(population, step, 64, leaving)}
    assert after == set(range(40))


def test_groups_of_new_people_alternate_and_each_has_its_bucket(population, batcher):
    """The study's Figures W and X: two groups, here visited twice each."""
    config, distribution = sampling(
        "sampling.kind=sequential", "sampling.cohort=new", "sampling.num_groups=2", "sampling.num_repeats=2"
    )
    buckets = batcher_of(batcher, config, distribution).buckets()
    assert buckets == {"group_0": range(80, 84), "group_1": range(84, 88)}
    for step in range(12):
        shown = set(training_people(population, step, 64, distribution).tolist())
        assert shown == set(buckets[f"group_{step // 3 % 2}"])
