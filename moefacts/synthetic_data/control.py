"""The control without knowledge of persons: the same people, whose values are permuted over them.

Every attribute is permuted on its own. The statistics of a cohort stay exactly as they are, because as many people have
each value as before, but what a biography says of a person is not what training says of them. The values that come
earlier in a biography are permuted, too, and those of different attributes are of different people. If all six were
those of one other person, a model that knows this person could read the next value off the ones before it.

Shape legend: P people of a cohort.
"""

import numpy as np

from moefacts.synthetic_data.other_values import with_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import Population
from moefacts.synthetic_data.randomness import random_bits, random_permutation, stream_key


def with_permuted_values(population: Population, cohort: str) -> Population:
    """``population`` with the values of every attribute permuted over the people of ``cohort``.

    The permutation is a function of the population's seed, the attribute and the people's own values. Names, templates
    and the people of other cohorts stay as they are, so an ``evaluation_plan`` means the same biographies with other
    values. Nobody keeps their own value, unless half of the cohort or more share it.
    """
    people = population.cohort(cohort)
    value_PA = population.value_PA[people.start : people.stop].copy()
    for a, attribute in enumerate(ATTRIBUTES):
        key, partner_key = (stream_key(population.seed, "control", attribute, part) for part in ("values", "partner"))
        value_PA[:, a] = permuted(value_PA[:, a], key, partner_key)
    return with_values(population, people, value_PA)


def permuted(value_P: np.ndarray, key: int, partner_key: int) -> np.ndarray:
    """The values in a random order in which nobody has their own, unless half of the people or more share it.

    It is a random permutation, after which each person who got their own value exchanges it with a random partner:
    somebody who neither has this value nor got it. There is such a person as long as fewer than half have the value.
    """
    person_P = np.arange(len(value_P))
    given_P = value_P[random_permutation(key, person_P, len(value_P))]
    draw_P = random_bits(partner_key, person_P)
    for person in np.flatnonzero(given_P == value_P):
        own = value_P[person]
        partners = np.flatnonzero((given_P != own) & (value_P != own))
        if given_P[person] == own and len(partners):  # an earlier exchange may have replaced it already
            partner = partners[draw_P[person] % len(partners)]
            given_P[person], given_P[partner] = given_P[partner], own
    return given_P
