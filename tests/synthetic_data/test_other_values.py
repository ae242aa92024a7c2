"""People can have other values in training batches than in evaluations."""

import numpy as np
import pytest

from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.other_values import with_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.sampling import evaluation_plan, training_plan


def shifted(population, individuals):
    """The given people's values, each one further in its pool."""
    sizes = [len(population.pools.values(attribute)) for attribute in ATTRIBUTES]
    return (population.value_PA[np.asarray(individuals)] + 1) % sizes


@pytest.mark.parametrize("individuals", [range(8, 20), np.array([3, 80, 41])])
def test_only_the_values_of_the_given_people_differ_and_the_population_itself_stays(population, individuals):
    before = population.value_PA.copy()
    value_PA = shifted(population, individuals)
    other = with_values(population, individuals, value_PA)
    assert np.array_equal(population.value_PA, before)
    assert np.array_equal(other.value_PA[np.asarray(individuals)], value_PA)
    unchanged = np.setdiff1d(np.arange(len(population)), np.asarray(individuals))
    assert np.array_equal(other.value_PA[unchanged], before[unchanged])
    assert other.fingerprint != population.fingerprint
    assert with_values(population, individuals, before[np.asarray(individuals)]).fingerprint == population.fingerprint


def test_both_populations_have_the_same_plans(population):
    other = with_values(population, range(48), shifted(population, range(48)))
    for make in (lambda one: training_plan(one, 5, 64), lambda one: evaluation_plan(one, "seen", 64)):
        ours, theirs = make(population), make(other)
        for column in ("individual_B", "attribute_BA", "template_BA"):
            assert np.array_equal(getattr(ours, column), getattr(theirs, column))


def test_training_batches_say_the_other_values_and_differ_in_nothing_else(population, batcher):
    """A value of another pool entry may have another number of tokens, so texts are compared piece by piece."""
    individuals = range(24)
    generated = batcher.with_population(with_values(population, individuals, shifted(population, individuals)))
    plan = training_plan(population, 3, 64)
    roles = np.array(batcher.catalog.roles)
    ours, theirs = (one.catalog.biography_pieces(plan) for one in (batcher, generated))
    assert np.array_equal(roles[ours], roles[theirs])
    is_value, is_changed = roles[ours] == Role.FIRST_VALUE, np.isin(plan.individual_B, individuals)
    assert is_changed.any()
    assert not is_changed.all()
    assert np.array_equal(ours != theirs, is_value & is_changed[:, None])
    batch = generated.training_batch(3, 64)
    said = generated.assemble(plan)
    assert sorted(map(tuple, batch.token_BT.tolist())) == sorted(map(tuple, said.token_BT.tolist()))
    assert generated.distribution is batcher.distribution
