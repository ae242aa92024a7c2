"""What a kind of distribution is: the base class of all, which shows everybody equally often.

People are numbered by rank within the cohorts that are trained on, from 0.

Shape legend: P people, B biographies.
"""

from typing import TYPE_CHECKING

import numpy as np

from moefacts.errors import UserError, check_at_least

if TYPE_CHECKING:
    from moefacts.synthetic_data.distribution_kinds import SamplingConfig


class Kind:
    """Shows everybody equally often at every step. Other kinds override what differs.

    Args:
        config: the settings.
        num_people: how many people training draws from.
        steps: the length of training.
        num_replayed: how many of them, those with the highest ranks, are of the cohort that is replayed.

    Attributes:
        needs: the fields of ``SamplingConfig`` that must be set.
        takes: the fields that may be set.
        is_stretched: whether whom it shows at a step depends on the number of steps.
    """

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    is_stretched = False

    def __init__(self, config: "SamplingConfig", num_people: int, steps: int, num_replayed: int = 0):
        self.config = config
        self.num_people = num_people
        self.steps = steps
        self.num_replayed = num_replayed

    @classmethod
    def cohorts(cls, config: "SamplingConfig") -> tuple[str, ...]:
        """The cohorts that training draws from, in the order of ranks. A second one is replayed."""
        return (config.cohort,)

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """All fields of ``SamplingConfig`` that this kind reads."""
        return cls.needs + cls.takes

    def check(self) -> None:
        """Raise ``UserError`` when a setting is wrong. The fields in ``needs`` are set."""

    def weight_P(self) -> np.ndarray | None:
        """The relative probability of each person, the same at every step; None: ``support`` decides."""
        return None

    def support(self, step: int, batch_size: int, num_active: int | None) -> range:
        """The ranks that are drawn at ``step``, all equally likely. Not used by a kind with weights."""
        return range(self.num_people)

    def num_active(self, num_widenings: int) -> int | None:
        """The number of people trained on after ``num_widenings``; None for a kind that ignores the loss."""
        return None

    def buckets(self) -> dict[str, range]:
        """Bucket name -> the ranks in it, whose loss and accuracy are recorded separately."""
        return {}

    def _check_count(self, key: str, most: int | None = None) -> None:
        """Require a number from 1 to ``most``, by default the number of people."""
        count, limit = getattr(self.config, key), self.num_people if most is None else most
        check_at_least(f"sampling.{key}", count, 1)
        if count > limit:
            raise UserError(
                f"sampling.{key}={count} is too large for the {self.num_people} people of the cohort "
                f"{self.config.cohort}; it must be at most {limit}"
            )

    def _check_above(self, key: str, least: float) -> None:
        value = getattr(self.config, key)
        if value is not None and not value > least:
            raise UserError(f"sampling.{key}={value} is too small; it must be above {least}")


def cut(num_people: int, first: int | None, inside: str, outside: str) -> dict[str, range]:
    """Two buckets: the first people and the others."""
    everyone = range(num_people)
    return {inside: everyone[:first], outside: everyone[first:]}


def part_of(size: int, part: int, num_parts: int) -> range:
    """The ranks in one of ``num_parts`` parts of equal size, give or take one."""
    return range(size * part // num_parts, size * (part + 1) // num_parts)
