"""The facts of a cohort can be drawn from one half of every attribute's values; everybody else's stay as they are."""

import re

import numpy as np
import pytest

from moefacts.config.presets import compose
from moefacts.errors import UserError
from moefacts.synthetic_data.cohorts import FIRST, HALVES, SECOND
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.value_halves import half_of_values
from tests.conftest import tiny_config

# Palit et al. 2026, in small: A and B are trained on, then B_prime or C.
PROTOCOL = (
    "population.cohorts={A:{part_of:seen,stop:20,values:first},B:{part_of:seen,start:20,stop:40,values:second},"
    "B_prime:{part_of:new,stop:4,values:second},C:{part_of:new,start:4}}"
)


def built(*overrides, seed=0):
    return build_population(tiny_config(*overrides).population, seed)


def values_of(population, cohort):
    people = population.cohort(cohort)
    return population.value_PA[people.start : people.stop]


@pytest.mark.parametrize("num_values", [1, 2, 3, 100, 101])
def test_the_halves_are_equal_but_for_one_value_that_goes_to_the_first(num_values):
    half_V = half_of_values(3, "company", num_values)
    assert set(half_V) <= {0, 1}
    assert np.count_nonzero(half_V == 0) == (num_values + 1) // 2


def test_the_split_is_random_and_a_function_of_seed_and_attribute():
    assert half_of_values(0, "company", 12).tolist() == [
        1,
        0,
        1,
        1,
        1,
        0,
        1,
        0,
        0,
        0,
        0,
        1,
    ]  # golden: runs can be repeated
    halves = [tuple(half_of_values(seed, attribute, 100)) for seed in (0, 1) for attribute in ATTRIBUTES]
    assert len(set(halves)) == len(halves)
    shares = [np.mean([half_of_values(seed, "major", 11)[value] for seed in range(400)]) for value in range(11)]
    assert np.abs(np.array(shares) - 5 / 11).max() < 4 * np.sqrt(0.25 / 400)


def test_the_facts_of_a_cohort_are_from_its_half_and_all_of_the_half_is_used():
    population = build_population(
        compose([f"{PROTOCOL.replace(':20', ':2000').replace(':40', ':4000')}", "population.size=4000",
                 "population.new=8"]).population, seed=5
    )  # fmt: skip
    for a, attribute in enumerate(ATTRIBUTES):
        half_V = population.half_of_values(attribute)
        for cohort, half in (("A", FIRST), ("B", SECOND), ("B_prime", SECOND)):
            assert set(half_V[values_of(population, cohort)[:, a]]) == {HALVES.index(half)}
        if attribute != "birth_date":  # more dates than people
            for cohort, half in (("A", FIRST), ("B", SECOND)):
                chosen = np.flatnonzero(half_V == HALVES.index(half))
                counts = np.bincount(values_of(population, cohort)[:, a], minlength=len(half_V))[chosen]
                expected = 2000 / len(chosen)
                assert ((counts - expected) ** 2 / expected).sum() < len(chosen) + 5 * np.sqrt(2 * len(chosen))


def test_everybody_elses_facts_and_all_names_and_templates_stay_bit_for_bit():
    halves, plain = built(PROTOCOL), built()
    others = np.ones(len(plain), dtype=bool)
    for cohort in ("A", "B", "B_prime"):
        others[list(halves.cohort(cohort))] = False
    assert np.array_equal(halves.value_PA[others], plain.value_PA[others])
    assert not np.array_equal(halves.value_PA[~others], plain.value_PA[~others])
    assert np.array_equal(halves.name_P3, plain.name_P3)
    assert np.array_equal(halves.split_PA, plain.split_PA)


def test_only_halves_change_the_fingerprint():
    plain = built().fingerprint
    assert built(re.sub(",values:(first|second)", "", PROTOCOL)).fingerprint == plain
    assert built(re.sub(",values:(first|second)", ",values:all", PROTOCOL)).fingerprint == plain
    assert len({plain, built(PROTOCOL).fingerprint, built(PROTOCOL.replace("second", "first")).fingerprint}) == 3


def test_cohorts_that_share_people_may_ask_for_the_same_half_or_for_none():
    cohorts = "population.cohorts={A:{stop:20,values:first},first_few:{stop:5,values:first},few:{stop:5}}"
    alone = "population.cohorts={A:{stop:20,values:first}}"
    assert built(cohorts).fingerprint == built(alone).fingerprint
    tiny_config("population.cohorts={A:{stop:20,values:first},B:{part_of:unseen,stop:20,values:second}}")
    tiny_config("population.cohorts={A:{stop:20,values:first},B:{start:20,values:second}}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["population.cohorts={A:{stop:20,values:first},B:{start:19,values:second}}"],
         "population.cohorts: A has values=first and B has values=second, but they share people"),
        (["population.cohorts={A:{values:firs}}"], "population.cohorts.A.values=firs is not a valid value; did you mean first"),
        (["population.cohorts={A:{values:second}}", "population.pools.majors=1"],
         "population.pools.majors=1 cannot be split into halves, as population.cohorts.A with values=second needs"),
    ],
)  # fmt: skip
def test_halves_that_make_no_sense_get_one_line(overrides, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        tiny_config(*overrides)
    assert "\n" not in str(caught.value)
