"""Which biographies are shown: pure functions of (seed, step) for training and of (seed, cohort) for evaluation.

Shape legend: B biographies, A sentences (one per attribute), S template splits, J templates to choose from, O orders,
C cohorts that training draws from.
"""

import itertools
from functools import lru_cache

import numpy as np

from moefacts.errors import UserError
from moefacts.synthetic_data.biography import BiographyPlan
from moefacts.synthetic_data.cohorts import SEEN, STRANGERS
from moefacts.synthetic_data.distribution import Distribution
from moefacts.synthetic_data.distribution_kinds import SamplingConfig
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import Population
from moefacts.synthetic_data.randomness import random_below, random_bits, random_permutation, stream_key

_NUM_ATTRIBUTES = len(ATTRIBUTES)
_ORDERS_OA = np.array(list(itertools.permutations(range(_NUM_ATTRIBUTES))), dtype=np.int64)
_NUM_TEMPLATE_ORDERS = 4096


def training_distribution(config: SamplingConfig, population: Population, steps: int) -> Distribution:
    """The distribution that ``config`` asks for, over the people of its cohorts.

    Raises:
        UserError: there are fewer training templates than ``config`` asks for per individual.
    """
    num_trained = population.splits.trained_SJ.shape[1]
    if config.templates_per_individual is not None and config.templates_per_individual > num_trained:
        raise UserError(
            f"sampling.templates_per_individual={config.templates_per_individual} is too large; "
            f"each individual has {num_trained} training templates per attribute"
        )
    sizes = [len(population.cohort(name)) for name in config.cohorts]
    return Distribution(config, sum(sizes), steps, sum(sizes[1:]))


def individuals_of(population: Population, config: SamplingConfig, rank_B: np.ndarray) -> np.ndarray:
    """The individuals with the ranks ``rank_B`` among the people that training draws from: (B,)."""
    cohorts = [population.cohort(name) for name in config.cohorts]
    stop_C = np.cumsum([len(people) for people in cohorts])
    offset_C = np.array([people.stop for people in cohorts]) - stop_C
    return rank_B + offset_C[np.searchsorted(stop_C, rank_B, side="right")]


def training_plan(
    population: Population,
    step: int,
    batch_size: int,
    distribution: Distribution | None = None,
    num_active: int | None = None,
) -> BiographyPlan:
    """The biographies of the batch of ``step``: people drawn with replacement, in their training templates.

    Args:
        population: the people.
        step: the number of updates before this batch.
        batch_size: the number of biographies.
        distribution: how often people are drawn, and in how many variants; None means all seen people uniformly.
        num_active: how many people an adaptive curriculum trains on; None means as many as it begins with.
    """
    individual_B = training_people(population, step, batch_size, distribution, num_active)
    variety = None if distribution is None else distribution.config
    return _plan(population, ("train", step), individual_B, population.splits.trained_SJ, variety)


def training_people(
    population: Population,
    step: int,
    batch_size: int,
    distribution: Distribution | None = None,
    num_active: int | None = None,
) -> np.ndarray:
    """Whom the biographies of ``training_plan`` with these arguments are about, without planning them: (B,)."""
    if distribution is None:
        people = population.cohort(SEEN)
        return people.start + random_below(_individual_key(population, step), np.arange(batch_size), len(people))
    rank_B = training_ranks(population, step, batch_size, distribution, num_active)
    return individuals_of(population, distribution.config, rank_B)


def training_ranks(
    population: Population, step: int, batch_size: int, distribution: Distribution, num_active: int | None = None
) -> np.ndarray:
    """The ranks of the people of ``training_people`` with these arguments: (B,)."""
    return distribution.draw(_individual_key(population, step), step, batch_size, num_active)


def _individual_key(population: Population, step: int) -> int:
    return stream_key(population.seed, "train", step, "individual")


def cohort_plan(population: Population, cohort: str, purpose: str, number: int, batch_size: int) -> BiographyPlan:
    """Batch ``number`` of those that serve a ``purpose``: people of ``cohort``, drawn with replacement.

    They are in their training templates, and different from the batches of training and of other purposes.
    """
    people, key = population.cohort(cohort), (purpose, cohort, number)
    drawn_B = random_below(stream_key(population.seed, *key, "individual"), np.arange(batch_size), len(people))
    return _plan(population, key, people.start + drawn_B, population.splits.trained_SJ)


def strangers_plan(population: Population, step: int, batch_size: int) -> BiographyPlan:
    """The next ``batch_size`` strangers, in their training templates: nobody comes twice before all have come once."""
    people = population.cohort(STRANGERS)
    turn_B = step * batch_size + np.arange(batch_size, dtype=np.int64)
    individual_B = people.start + turn_B % len(people)
    return _plan(population, (STRANGERS, step), individual_B, population.splits.trained_SJ)


def one_each_plan(
    population: Population,
    individual_B: np.ndarray,
    purpose: str,
    distribution: Distribution | None = None,
    held_out: bool = False,
) -> BiographyPlan:
    """One biography of each of these people for a ``purpose`` besides training.

    It has the variety of training, or is in the templates that are held out for the person.
    """
    variety = None if distribution is None else distribution.config
    template_SJ = population.splits.held_out_SH if held_out else population.splits.trained_SJ
    return _plan(population, (purpose, "one each"), individual_B, template_SJ, variety)


def evaluation_plan(
    population: Population, cohort: str, num_biographies: int, num_people: int | None = None
) -> BiographyPlan:
    """A fixed set of biographies in held-out templates, about ``cohort`` or its first ``num_people``.

    Everybody occurs equally often (give or take one), whatever the distribution of training.
    """
    people = population.cohort(cohort)[:num_people]
    key = stream_key(population.seed, "evaluation", cohort, "individual")
    turn_B = np.arange(num_biographies) % len(people)
    individual_B = people.start + random_permutation(key, turn_B, len(people))
    return _plan(population, ("evaluation", cohort), individual_B, population.splits.held_out_SH)


def _plan(
    population: Population,
    key: tuple,
    individual_B: np.ndarray,
    template_SJ: np.ndarray,
    variety: SamplingConfig | None = None,
) -> BiographyPlan:
    """Draw a sentence order and, for every sentence, a template from ``template_SJ``; ``variety`` may limit both."""
    seed, row_B = population.seed, np.arange(len(individual_B))
    order_key, order_index_B = stream_key(seed, *key, "order"), row_B
    if variety and not variety.shuffle_sentences:
        order_key, order_index_B = stream_key(seed, "fixed order"), individual_B
    attribute_BA = _ORDERS_OA[random_below(order_key, order_index_B, len(_ORDERS_OA))]
    place_BA = row_B[:, None] * _NUM_ATTRIBUTES + np.arange(_NUM_ATTRIBUTES)
    num_choices = variety and variety.templates_per_individual
    choice_BA = random_below(stream_key(seed, *key, "template"), place_BA, num_choices or template_SJ.shape[1])
    if num_choices:
        fact_BA = individual_B[:, None] * _NUM_ATTRIBUTES + attribute_BA
        order_BA = random_below(stream_key(seed, "template order"), fact_BA, _NUM_TEMPLATE_ORDERS)
        choice_BA = _template_orders_OJ(template_SJ.shape[1])[order_BA, choice_BA]
    split_BA = population.split_PA[individual_B[:, None], attribute_BA]
    return BiographyPlan(individual_B, attribute_BA, template_SJ[split_BA, choice_BA].astype(np.int64))


@lru_cache(maxsize=1)
def _template_orders_OJ(num_templates: int) -> np.ndarray:
    """Pseudo-random orders of the templates. A fact is assigned one order and uses the first few templates of it."""
    place_OJ = np.arange(_NUM_TEMPLATE_ORDERS * num_templates).reshape(_NUM_TEMPLATE_ORDERS, num_templates)
    return random_bits(stream_key(0, "template orders"), place_OJ).argsort(axis=1, kind="stable")
