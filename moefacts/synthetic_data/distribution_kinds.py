"""The settings of a distribution, and its kinds: those of the study (section 1), and an adaptive curriculum.

People are numbered by rank within the cohort that is trained on, from 0, most likely first. Kinds for people whom the
model knows already are in ``forgetting_kinds``.

To add a kind, write a subclass of ``Kind`` and put it into ``KINDS``. If it needs a new setting, add a field to
``SamplingConfig`` and a line to ``conf/config.yaml``.

Shape legend: P people, B biographies.
"""

import math
from dataclasses import dataclass

import numpy as np

from moefacts.errors import UserError, check_at_least, check_choice
from moefacts.synthetic_data.cohorts import SEEN, common
from moefacts.synthetic_data.forgetting_kinds import Leaving, Replay
from moefacts.synthetic_data.kind import Kind, cut, part_of
from moefacts.synthetic_data.population import PopulationConfig
from moefacts.synthetic_data.weights import inverse_power


@dataclass
class SamplingConfig:
    """Which people training shows, by ``kind`` and the settings of that kind, and in how many variants.

    The settings of other kinds are null. ``cohort`` names the people that training draws from; an epoch is one
    biography for each of them. Replay also draws from ``replay_cohort``. ``templates_per_individual`` limits the
    training templates of each person and attribute. Without ``shuffle_sentences`` a person's sentences always come in
    the same order. That order differs from person to person, because with a common order a model could read the
    attribute off the place of its sentence.
    """

    kind: str = "uniform"
    exponent: float | None = None
    num_celebrities: int | None = None
    celebrity_weight: float | None = None
    warmup_individuals: int | None = None
    warmup_epochs: float | None = None
    num_groups: int | None = None
    num_repeats: int | None = None
    initial_individuals: int | None = None
    growth: float | None = None
    replay_cohort: str | None = None
    replay_weight: float | None = None
    replay_values: str | None = None
    leaving_step: int | None = None
    num_leaving: int | None = None
    templates_per_individual: int | None = None
    shuffle_sentences: bool = True
    cohort: str = SEEN

    @property
    def cohorts(self) -> tuple[str, ...]:
        """The cohorts that training draws from, in the order of ranks: ``cohort``, and the one that is replayed."""
        return KINDS[self.kind].cohorts(self)

    def check(self, population: PopulationConfig, steps: int) -> None:
        """Raise ``UserError`` when a value is wrong for the people of ``population`` and ``steps`` steps."""
        check_choice("sampling.kind", self.kind, KINDS)
        self._check_belonging()
        check_at_least("sampling.templates_per_individual", self.templates_per_individual, 1)
        ranges = [population.cohort_range(name) for name in self.cohorts]
        if len(ranges) > 1 and common(*ranges):
            cohort, replayed = self.cohorts
            raise UserError(
                f"sampling.cohort={cohort} and sampling.replay_cohort={replayed} share {len(common(*ranges))} people; "
                "replay needs two cohorts without common people, such as new and seen"
            )
        num_people, num_replayed = sum(map(len, ranges)), sum(map(len, ranges[1:]))
        KINDS[self.kind](self, num_people, steps, num_replayed).check()

    def _check_belonging(self) -> None:
        """Require the settings of this kind, and refuse those that it does not read, which would have no effect."""
        own = KINDS[self.kind]
        for kind, other in KINDS.items():
            for key in other.settings():
                value = getattr(self, key)
                if kind == self.kind and value is None and key in own.needs:
                    raise UserError(f"sampling.kind={kind} needs sampling.{key}")
                if key not in own.settings() and value is not None:
                    raise UserError(
                        f"sampling.{key}={value} has no effect with sampling.kind={self.kind}; "
                        f"leave it out, or use sampling.kind={kind}"
                    )

    def describe(self) -> str:
        """The settings as overrides, in one line."""
        settings = {"kind": self.kind} | {key: getattr(self, key) for key in KINDS[self.kind].settings()}
        if self.templates_per_individual is not None:
            settings["templates_per_individual"] = self.templates_per_individual
        if not self.shuffle_sentences:
            settings["shuffle_sentences"] = "false"
        if self.cohort != SEEN:
            settings["cohort"] = self.cohort
        return " ".join(f"sampling.{key}={value}" for key, value in settings.items() if value is not None)


class PowerLaw(Kind):
    """Shows the i-th person in proportion to i^(−exponent)."""

    needs = ("exponent",)

    def check(self) -> None:
        """The exponent must not be negative."""
        check_at_least("sampling.exponent", self.config.exponent, 0)

    def weight_P(self) -> np.ndarray:
        """i^(−exponent) for the i-th person."""
        assert self.config.exponent is not None
        return inverse_power(self.num_people, self.config.exponent)

    def buckets(self) -> dict[str, range]:
        """Thirds by rank."""
        return {name: part_of(self.num_people, part, 3) for part, name in enumerate(("head", "middle", "tail"))}


class Celebrities(Kind):
    """Shows a few people more often than the rest."""

    needs = ("num_celebrities", "celebrity_weight")

    def check(self) -> None:
        """At least one person must not be a celebrity."""
        self._check_count("num_celebrities", self.num_people - 1)
        self._check_above("celebrity_weight", 0)

    def weight_P(self) -> np.ndarray:
        """``celebrity_weight`` for the celebrities and 1 for the rest."""
        weight_P = np.ones(self.num_people)
        weight_P[: self.config.num_celebrities] = self.config.celebrity_weight
        return weight_P

    def buckets(self) -> dict[str, range]:
        """The celebrities and the rest."""
        return cut(self.num_people, self.config.num_celebrities, "celebrities", "rest")


class Warmup(Kind):
    """Shows some people alone for some epochs of ``num_people`` biographies (study, section 1), then everybody."""

    needs = ("warmup_individuals", "warmup_epochs")

    def check(self) -> None:
        """No more people than there are, and some epochs."""
        self._check_count("warmup_individuals")
        self._check_above("warmup_epochs", 0)

    def support(self, step: int, batch_size: int, num_active: int | None) -> range:
        """The first people until their epochs are over, then everybody."""
        assert self.config.warmup_individuals is not None
        assert self.config.warmup_epochs is not None
        is_over = step * batch_size >= self.config.warmup_epochs * self.num_people
        return range(self.num_people if is_over else self.config.warmup_individuals)

    def buckets(self) -> dict[str, range]:
        """The people of the warm-up and the others."""
        return cut(self.num_people, self.config.warmup_individuals, "inside", "outside")


class Sequential(Kind):
    """Shows one group of people after another, several times over."""

    needs = ("num_groups", "num_repeats")
    is_stretched = True

    def check(self) -> None:
        """There must be a step for every visit to a group."""
        groups, repeats = self._sizes()
        self._check_count("num_groups")
        check_at_least("sampling.num_repeats", repeats, 1)
        if groups * repeats > self.steps:
            raise UserError(
                f"sampling.num_groups={groups} with sampling.num_repeats={repeats} makes "
                f"{groups * repeats} visits, more than training.steps={self.steps}"
            )

    def support(self, step: int, batch_size: int, num_active: int | None) -> range:
        """The group that ``step`` visits; past the end of training, the last group."""
        groups, repeats = self._sizes()
        visit = min(step, self.steps - 1) * groups * repeats // self.steps
        return part_of(self.num_people, visit % groups, groups)

    def buckets(self) -> dict[str, range]:
        """Every group."""
        groups, _ = self._sizes()
        return {f"group_{group}": part_of(self.num_people, group, groups) for group in range(groups)}

    def _sizes(self) -> tuple[int, int]:
        assert self.config.num_groups is not None
        assert self.config.num_repeats is not None
        return self.config.num_groups, self.config.num_repeats


class Adaptive(Kind):
    """Shows some people alone until their plateau is over, then more; ``training.curriculum`` decides when."""

    needs = ("initial_individuals",)
    takes = ("growth",)

    def check(self) -> None:
        """No more people than there are, and a factor that makes them more."""
        self._check_count("initial_individuals")
        self._check_above("growth", 1)

    def support(self, step: int, batch_size: int, num_active: int | None) -> range:
        """The active people; None means those that it begins with."""
        return range(num_active or self._first)

    def num_active(self, num_widenings: int) -> int:
        """Everybody after the first widening or, with ``growth``, that many times as many people after each."""
        size, growth = self._first, self.config.growth
        if growth is None:
            return self.num_people if num_widenings else size
        for _ in range(num_widenings):
            size = min(self.num_people, math.ceil(size * growth))
        return size

    def buckets(self) -> dict[str, range]:
        """The people shown from the beginning and the others."""
        return cut(self.num_people, self._first, "inside", "outside")

    @property
    def _first(self) -> int:
        assert self.config.initial_individuals is not None
        return self.config.initial_individuals


KINDS: dict[str, type[Kind]] = {
    "uniform": Kind,
    "power_law": PowerLaw,
    "celebrities": Celebrities,
    "warmup": Warmup,
    "sequential": Sequential,
    "adaptive": Adaptive,
    "replay": Replay,
    "leaving": Leaving,
}
