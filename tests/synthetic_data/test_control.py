"""The control: the statistics of the values stay, and nothing says whose they are."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moefacts.synthetic_data.control import permuted, with_permuted_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import evaluation_plan
from tests.conftest import tiny_config


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(0, 2**62))
def test_every_value_is_as_frequent_as_before_and_nobody_has_their_own_unless_half_of_the_people_share_it(values, key):
    value_P = np.array(values)
    given_P = permuted(value_P, key, key + 1)
    assert sorted(given_P) == sorted(value_P)
    if np.bincount(value_P).max() < len(values) / 2:
        assert not (given_P == value_P).any()


def test_the_marginal_distribution_of_each_attribute_is_that_of_the_cohort_and_others_keep_their_values(population):
    for cohort in ("seen", "unseen"):
        control, people = with_permuted_values(population, cohort), population.cohort(cohort)
        inside = np.isin(np.arange(len(population)), people)
        assert np.array_equal(control.value_PA[~inside], population.value_PA[~inside])
        for a in range(len(ATTRIBUTES)):
            assert sorted(control.value_PA[inside, a]) == sorted(population.value_PA[inside, a])
        assert not (control.value_PA[inside] == population.value_PA[inside]).any()


def test_the_values_of_a_person_come_from_different_people():
    """Otherwise a model that knows everybody could recognise whose values they are."""
    pools = [f"population.pools.{pool}=48" for pool in ("cities", "universities", "majors", "companies")]
    population = build_population(tiny_config("population.pools.years=16", *pools).population, seed=0)
    people = len(population.cohort("seen"))
    own = np.repeat(np.arange(people)[:, None], len(ATTRIBUTES), axis=1).astype(np.int32)
    control = with_permuted_values(
        replace(population, value_PA=np.concatenate([own, own[: len(population) - people]])), "seen"
    )
    givers_PA = control.value_PA[:people]
    for a in range(len(ATTRIBUTES)):
        assert sorted(givers_PA[:, a]) == list(range(people))
        for b in range(a):
            assert (givers_PA[:, a] == givers_PA[:, b]).mean() < 0.15  # 1 / 48 by chance


@pytest.mark.parametrize("names", ["name_P3", "split_PA"])
def test_the_same_people_are_evaluated_in_the_same_templates_and_order(population, names):
    control = with_permuted_values(population, "seen")
    assert np.array_equal(getattr(control, names), getattr(population, names))
    ours, theirs = (evaluation_plan(one, "seen", 100) for one in (control, population))
    for column in ("individual_B", "attribute_BA", "template_BA"):
        assert np.array_equal(getattr(ours, column), getattr(theirs, column))


def test_the_permutation_is_the_same_in_every_process(population):
    """Golden: it is a function of seed and attribute, and a run that records the control can be repeated."""
    table = with_permuted_values(population, "seen").value_PA.astype("<i4")
    assert hashlib.sha256(table.tobytes()).hexdigest()[:16] == "ae9cea6bafb63d90"
