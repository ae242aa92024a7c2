"""Kinds of distribution that ask what a model keeps: replay of people from before, and people who are no longer shown.

Shape legend: P people.
"""

from typing import TYPE_CHECKING

import numpy as np

from moefacts.errors import UserError, check_choice
from moefacts.synthetic_data.cohorts import SEEN
from moefacts.synthetic_data.kind import Kind, cut

if TYPE_CHECKING:
    from moefacts.synthetic_data.distribution_kinds import SamplingConfig

OF_MODEL = "model"  # values of replayed people that the model says itself


class Replay(Kind):
    """Shows the people of ``cohort``, and each of those of ``replay_cohort`` ``replay_weight`` times as often.

    With a weight w, the share of biographies about replayed people is w·N_old / (w·N_old + N_new), as in the study.
    With ``replay_values`` ``model``, training says of replayed people what the model said before it started.
    """

    needs = ("replay_weight",)
    takes = ("replay_cohort", "replay_values")

    @classmethod
    def cohorts(cls, config: "SamplingConfig") -> tuple[str, ...]:
        """The cohort, and the one that is replayed, by default everybody in ``seen``."""
        return (config.cohort, config.replay_cohort or SEEN)

    def check(self) -> None:
        """The weight must be positive, and the values known."""
        self._check_above("replay_weight", 0)
        if self.config.replay_values is not None:
            check_choice("sampling.replay_values", self.config.replay_values, (OF_MODEL,))

    def weight_P(self) -> np.ndarray:
        """1 for the people of the cohort and ``replay_weight`` for those who are replayed, who come last."""
        weight_P = np.ones(self.num_people)
        weight_P[self.num_people - self.num_replayed :] = self.config.replay_weight
        return weight_P

    def buckets(self) -> dict[str, range]:
        """The people of the cohort and those who are replayed."""
        return cut(self.num_people, self.num_people - self.num_replayed, "current", "replayed")


class Leaving(Kind):
    """Shows everybody until a step, and from then on everybody but the last ``num_leaving`` people."""

    needs = ("leaving_step", "num_leaving")

    def check(self) -> None:
        """Somebody must stay, and there must be steps before and after."""
        self._check_count("num_leaving", self.num_people - 1)
        step = self._step
        if not 0 < step < self.steps:
            raise UserError(
                f"sampling.leaving_step={step} must be at least 1 and less than training.steps={self.steps}; "
                "otherwise nobody leaves during training"
            )

    def support(self, step: int, batch_size: int, num_active: int | None) -> range:
        """Everybody before ``leaving_step``, then those who stay."""
        return range(self.num_people if step < self._step else self._num_staying)

    def buckets(self) -> dict[str, range]:
        """Those who stay and those who leave."""
        return cut(self.num_people, self._num_staying, "staying", "leaving")

    @property
    def _step(self) -> int:
        assert self.config.leaving_step is not None
        return self.config.leaving_step

    @property
    def _num_staying(self) -> int:
        assert self.config.num_leaving is not None
        return self.num_people - self.config.num_leaving
