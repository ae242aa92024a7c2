"""The same people with other values: for a control, or for training on what a model has said of them.

Shape legend: P people, A attributes.
"""

from dataclasses import replace

import numpy as np

from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import Population


def with_values(
    population: Population, individual_P: np.ndarray | range, value_PA: np.ndarray, num_abstentions: int = 0
) -> Population:
    """``population`` in which the people ``individual_P`` have the values ``value_PA``.

    Names, templates, cohorts and everybody else's values stay as they are, so every plan of biographies means the same
    people and sentences in both populations, and a tokenizer and a model of one fit the other.

    Self-generated replay trains on the values that a model gave for people from before, and evaluates the true ones.
    It takes two batchers that differ in their population alone. The one of the true population makes the evaluations;
    training batches, whose people and sentences are the same in both, come from the other::

        generated = batcher.with_population(with_values(batcher.population, individual_P, value_PA))
        batch = generated.training_batch(step, batch_size)

    Args:
        population: the people.
        individual_P: who gets other values.
        value_PA: index of each new value in its pool, with attributes in the order of ``ATTRIBUTES``.
        num_abstentions: how many answers that are no value follow on the values (``PieceCatalog``). Who has one has no
            ``facts``.
    """
    limit_A = [len(population.pools.values(attribute)) + num_abstentions for attribute in ATTRIBUTES]
    assert value_PA.shape == (len(individual_P), len(ATTRIBUTES))
    assert (value_PA >= 0).all()
    assert (value_PA < limit_A).all()
    changed_PA = population.value_PA.copy()
    changed_PA[np.asarray(individual_P)] = value_PA
    return replace(population, value_PA=changed_PA)
