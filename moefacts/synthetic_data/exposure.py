"""Whom training has shown, how often and when: recomputed from the plan of training, which is a function of the step.

Shape legend: P people that training draws from, by rank, B biographies of a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from moefacts.synthetic_data.distribution import Distribution
from moefacts.synthetic_data.population import Population
from moefacts.synthetic_data.sampling import individuals_of, training_ranks

_NEVER = -1


@dataclass(frozen=True)
class Exposure:
    """What training has shown after ``step`` updates.

    Attributes:
        step: the number of updates.
        individual_P: the people that training draws from.
        times_shown_P: the number of biographies about each.
        steps_since_shown_P: the number of updates since the last one whose batch had a biography about the person, so
            0 for those in the newest batch; NaN for people who have not been shown.
    """

    step: int
    individual_P: np.ndarray
    times_shown_P: np.ndarray
    steps_since_shown_P: np.ndarray


def exposures(
    population: Population,
    distribution: Distribution,
    batch_size: int,
    steps: Sequence[int],
    num_active: Callable[[int], int | None] = lambda step: None,
) -> Iterator[Exposure]:
    """Yield what training has shown at each of ``steps``, in ascending order.

    Args:
        population: the people.
        distribution: how often training draws them.
        batch_size: the number of biographies per step.
        steps: numbers of updates.
        num_active: how many people an adaptive curriculum trains on at a step; None for other distributions.
    """
    individual_P = individuals_of(population, distribution.config, np.arange(distribution.num_people))
    times_shown_P = np.zeros(len(individual_P), dtype=np.int64)
    last_step_P = np.full(len(individual_P), _NEVER)
    for start, stop in pairwise([0, *sorted(steps)]):
        for step in range(start, stop):
            rank_B = training_ranks(population, step, batch_size, distribution, num_active(step))
            np.add.at(times_shown_P, rank_B, 1)
            last_step_P[rank_B] = step
        since_P = np.where(last_step_P == _NEVER, np.nan, stop - 1 - last_step_P)
        yield Exposure(stop, individual_P, times_shown_P.copy(), since_P)
