"""How often training shows each person: draws from a distribution of one of the kinds.

Shape legend: P people, B biographies.
"""

import numpy as np

from moefacts.synthetic_data.distribution_kinds import KINDS, SamplingConfig
from moefacts.synthetic_data.randomness import random_below, random_bits
from moefacts.synthetic_data.weights import TABLE_TOTAL, cumulative_table


class Distribution:
    """Draws the people of every batch: a pure function of the settings, the step and the number of active people.

    Args:
        config: the settings.
        num_people: how many people training draws from.
        steps: the length of training.
        num_replayed: how many of them, those with the highest ranks, are of the cohort that is replayed.
    """

    def __init__(self, config: SamplingConfig, num_people: int, steps: int, num_replayed: int = 0):
        self.config = config
        self.num_people = num_people
        self._kind = KINDS[config.kind](config, num_people, steps, num_replayed)
        weight_P = self._kind.weight_P()
        self._table_P = None if weight_P is None else cumulative_table(weight_P)

    def draw(self, key: int, step: int, batch_size: int, num_active: int | None) -> np.ndarray:
        """The ranks of the people in the batch of ``step``, drawn with replacement from the stream ``key``: (B,)."""
        row_B = np.arange(batch_size)
        if self._table_P is not None:
            return np.searchsorted(self._table_P, random_bits(key, row_B) & (TABLE_TOTAL - 1), side="right")
        people = self.support(step, batch_size, num_active)
        return people.start + random_below(key, row_B, len(people))

    def probability_P(self, step: int, batch_size: int, num_active: int | None = None) -> np.ndarray:
        """The probability of each person in every draw of ``step``: float64, summing to 1."""
        if self._table_P is not None:
            return np.diff(self._table_P, prepend=0) / TABLE_TOTAL
        people = self.support(step, batch_size, num_active)
        probability_P = np.zeros(self.num_people)
        probability_P[people.start : people.stop] = 1 / len(people)
        return probability_P

    def support(self, step: int, batch_size: int, num_active: int | None) -> range:
        """The ranks that can be drawn at ``step``."""
        return self._kind.support(step, batch_size, num_active)

    def num_active(self, num_widenings: int) -> int | None:
        """The number of people an adaptive curriculum trains on after ``num_widenings``; None for other kinds."""
        return self._kind.num_active(num_widenings)

    def buckets(self) -> dict[str, range]:
        """Bucket name -> the ranks in it, by how often they are shown; empty when all are shown equally often."""
        return self._kind.buckets()
