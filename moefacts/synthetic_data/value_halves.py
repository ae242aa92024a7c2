"""Halves of every attribute's values, from one of which a cohort's facts can be drawn (Palit et al. 2026).

Shape legend: V values of one attribute, P people.
"""

import numpy as np

from moefacts.errors import UserError
from moefacts.synthetic_data.cohorts import ALL, HALVES, CohortConfig
from moefacts.synthetic_data.pools import ATTRIBUTES, Pools, PoolSizes
from moefacts.synthetic_data.randomness import random_below, random_permutation, stream_key

_POOLS_OF_VALUES = ("cities", "universities", "majors", "companies")  # a single year has enough dates


def check_halves(cohorts: dict[str, CohortConfig], pools: PoolSizes) -> None:
    """Raise ``UserError`` when a cohort's facts are to be from one half of values of which there is only one."""
    for name, cohort in cohorts.items():
        for pool in _POOLS_OF_VALUES:
            if cohort.values != ALL and getattr(pools, pool) == 1:
                raise UserError(
                    f"population.pools.{pool}=1 cannot be split into halves, as population.cohorts.{name} with "
                    f"values={cohort.values} needs; it must be at least 2"
                )


def half_of_values(seed: int, attribute: str, num_values: int) -> np.ndarray:
    """The half of each value of ``attribute``: 0 for the first, 1 for the second; (V,).

    The split is random, and a function of the arguments. Of an odd number of values, the first half has one more.
    """
    place_V = random_permutation(stream_key(seed, "half", attribute), np.arange(num_values), num_values)
    return (place_V >= (num_values + 1) // 2).astype(np.int8)


def draw_from_half(seed: int, pools: Pools, half: str, person_P: np.ndarray) -> np.ndarray:
    """Values of the given people from one half of every attribute's: indices into the pools, (P, A).

    Args:
        seed: the population's.
        pools: the names and values in use.
        half: one of ``HALVES``.
        person_P: the individuals. What each of them gets does not depend on the others.
    """
    value_PA = np.empty((len(person_P), len(ATTRIBUTES)), dtype=np.int32)
    for a, attribute in enumerate(ATTRIBUTES):
        half_V = half_of_values(seed, attribute, len(pools.values(attribute)))
        chosen = np.flatnonzero(half_V == HALVES.index(half))
        value_PA[:, a] = chosen[random_below(stream_key(seed, "value", attribute), person_P, len(chosen))]
    return value_PA
