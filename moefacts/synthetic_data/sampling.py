"""Which biographies are shown: pure functions of (seed, step) for training and of (seed, cohort) for evaluation."""

import itertools

import numpy as np

from moefacts.synthetic_data.biography import BiographyPlan
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import Population
from moefacts.synthetic_data.randomness import random_below, random_permutation, stream_key

_NUM_ATTRIBUTES = len(ATTRIBUTES)
_ORDERS_OA = np.array(list(itertools.permutations(range(_NUM_ATTRIBUTES))), dtype=np.int64)


def _plan(population: Population, key: tuple, individual_B: np.ndarray, template_SJ: np.ndarray) -> BiographyPlan:
    """Draw a sentence order and, for every sentence, one of the templates that ``template_SJ`` allows."""
    seed, row_B = population.seed, np.arange(len(individual_B))
    attribute_BA = _ORDERS_OA[random_below(stream_key(seed, *key, "order"), row_B, len(_ORDERS_OA))]
    place_BA = row_B[:, None] * _NUM_ATTRIBUTES + np.arange(_NUM_ATTRIBUTES)
    choice_BA = random_below(stream_key(seed, *key, "template"), place_BA, template_SJ.shape[1])
    split_BA = population.split_PA[individual_B[:, None], attribute_BA]
    return BiographyPlan(individual_B, attribute_BA, template_SJ[split_BA, choice_BA].astype(np.int64))


def training_plan(population: Population, step: int, batch_size: int) -> BiographyPlan:
    """The batch of ``step``: people of the cohort *seen*, uniformly with replacement, in their training templates."""
    seen = population.cohort("seen")
    key = stream_key(population.seed, "train", step, "individual")
    individual_B = seen.start + random_below(key, np.arange(batch_size), len(seen))
    return _plan(population, ("train", step), individual_B, population.splits.trained_SJ)


def evaluation_plan(population: Population, cohort: str, num_biographies: int) -> BiographyPlan:
    """A fixed set of biographies of ``cohort`` in held-out templates; everybody equally often (give or take one)."""
    people = population.cohort(cohort)
    key = stream_key(population.seed, "evaluation", cohort, "individual")
    turn_B = np.arange(num_biographies) % len(people)
    individual_B = people.start + random_permutation(key, turn_B, len(people))
    return _plan(population, ("evaluation", cohort), individual_B, population.splits.held_out_SH)
