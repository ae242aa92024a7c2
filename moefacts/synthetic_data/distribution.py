"""How often training shows each person: the distributions of the study (section 1), and an adaptive curriculum.

People are numbered by rank within the cohort that is trained on, from 0, most likely first.

Shape legend: P people, B biographies.
"""

import math
from dataclasses import dataclass

import numpy as np

from moefacts.errors import UserError, check_at_least, check_choice
from moefacts.synthetic_data.cohorts import SEEN
from moefacts.synthetic_data.randomness import random_below, random_bits

# Kind -> the settings it needs; ``growth`` may be null.
KINDS = {
    "uniform": (),
    "power_law": ("exponent",),
    "celebrities": ("num_celebrities", "celebrity_weight"),
    "warmup": ("warmup_individuals", "warmup_epochs"),
    "sequential": ("num_groups", "num_repeats"),
    "adaptive": ("initial_individuals", "growth"),
}
_TABLE_TOTAL = 1 << 62


@dataclass
class SamplingConfig:
    """Which people training shows, by ``kind`` and the settings of that kind, and in how many variants.

    The settings of other kinds are null. ``cohort`` names the people that training draws from; an epoch is one
    biography for each of them. ``templates_per_individual`` limits the training templates of each person and attribute.
    Without ``shuffle_sentences`` a person's sentences always come in the same order. That order differs from person to
    person, because with a common order a model could read the attribute off the place of its sentence.
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
    templates_per_individual: int | None = None
    shuffle_sentences: bool = True
    cohort: str = SEEN

    def check(self, num_people: int, steps: int) -> None:
        """Raise ``UserError`` when a value is wrong for ``num_people`` people and ``steps`` steps."""
        check_choice("sampling.kind", self.kind, KINDS)
        self._check_belonging()
        check_at_least("sampling.exponent", self.exponent, 0)
        for key in ("num_celebrities", "warmup_individuals", "num_groups", "num_repeats", "initial_individuals"):
            check_at_least(f"sampling.{key}", getattr(self, key), 1)
        check_at_least("sampling.templates_per_individual", self.templates_per_individual, 1)
        for key in ("exponent", "celebrity_weight", "warmup_epochs", "growth"):
            if getattr(self, key) is not None and not math.isfinite(getattr(self, key)):
                raise UserError(f"sampling.{key}={getattr(self, key)} must be finite")
        for key, least in (("celebrity_weight", 0), ("warmup_epochs", 0), ("growth", 1)):
            if getattr(self, key) is not None and not getattr(self, key) > least:
                raise UserError(f"sampling.{key}={getattr(self, key)} is too small; it must be above {least}")
        most = {"num_celebrities": num_people - 1}
        for key in ("num_celebrities", "warmup_individuals", "num_groups", "initial_individuals"):
            value, limit = getattr(self, key), most.get(key, num_people)
            if value is not None and value > limit:
                raise UserError(
                    f"sampling.{key}={value} is too large for the {num_people} people of the cohort {self.cohort}; "
                    f"it must be at most {limit}"
                )
        if self.num_groups is not None and self.num_repeats is not None and self.num_groups * self.num_repeats > steps:
            raise UserError(
                f"sampling.num_groups={self.num_groups} with sampling.num_repeats={self.num_repeats} makes "
                f"{self.num_groups * self.num_repeats} visits, more than training.steps={steps}"
            )

    def _check_belonging(self) -> None:
        """Require the settings of this kind, and refuse those of other kinds, which would have no effect."""
        for kind, keys in KINDS.items():
            for key in keys:
                value = getattr(self, key)
                if kind == self.kind and value is None and key != "growth":
                    raise UserError(f"sampling.kind={kind} needs sampling.{key}")
                if kind != self.kind and value is not None:
                    raise UserError(
                        f"sampling.{key}={value} has no effect with sampling.kind={self.kind}; "
                        f"leave it out, or use sampling.kind={kind}"
                    )

    def describe(self) -> str:
        """The settings as overrides, in one line."""
        settings = {"kind": self.kind} | {key: getattr(self, key) for key in KINDS[self.kind]}
        if self.templates_per_individual is not None:
            settings["templates_per_individual"] = self.templates_per_individual
        if not self.shuffle_sentences:
            settings["shuffle_sentences"] = "false"
        if self.cohort != SEEN:
            settings["cohort"] = self.cohort
        return " ".join(f"sampling.{key}={value}" for key, value in settings.items() if value is not None)


class Distribution:
    """Draws the people of every batch: a pure function of the settings, the step and the number of active people.

    Args:
        config: the settings.
        num_people: the size of the cohort that is trained on.
        steps: the length of training.
    """

    def __init__(self, config: SamplingConfig, num_people: int, steps: int):
        self.config = config
        self.num_people = num_people
        self.steps = steps
        self._table_P: np.ndarray | None = None
        if config.kind == "power_law":
            assert config.exponent is not None
            self._table_P = cumulative_table(inverse_power(num_people, config.exponent))
        elif config.kind == "celebrities":
            weight_P = np.ones(num_people)
            weight_P[: config.num_celebrities] = config.celebrity_weight
            self._table_P = cumulative_table(weight_P)

    def draw(self, key: int, step: int, batch_size: int, num_active: int | None) -> np.ndarray:
        """The ranks of the people in the batch of ``step``, drawn with replacement from the stream ``key``: (B,)."""
        row_B = np.arange(batch_size)
        if self._table_P is not None:
            return np.searchsorted(self._table_P, random_bits(key, row_B) & (_TABLE_TOTAL - 1), side="right")
        people = self.support(step, batch_size, num_active)
        return people.start + random_below(key, row_B, len(people))

    def probability_P(self, step: int, batch_size: int, num_active: int | None = None) -> np.ndarray:
        """The probability of each person in every draw of ``step``: float64, summing to 1."""
        if self._table_P is not None:
            return np.diff(self._table_P, prepend=0) / _TABLE_TOTAL
        people = self.support(step, batch_size, num_active)
        probability_P = np.zeros(self.num_people)
        probability_P[people.start : people.stop] = 1 / len(people)
        return probability_P

    def support(self, step: int, batch_size: int, num_active: int | None) -> range:
        """The ranks that can be drawn at ``step``. One epoch is ``num_people`` biographies (study, section 1)."""
        config = self.config
        if config.kind == "warmup":
            assert config.warmup_individuals is not None
            assert config.warmup_epochs is not None
            if step * batch_size < config.warmup_epochs * self.num_people:
                return range(config.warmup_individuals)
        if config.kind == "sequential":
            return self._group(step)
        if config.kind == "adaptive":
            assert config.initial_individuals is not None
            return range(num_active or config.initial_individuals)
        return range(self.num_people)

    def _group(self, step: int) -> range:
        """The ranks of the group that ``step`` visits; past the end of training, the last group."""
        num_groups, num_repeats = self.config.num_groups, self.config.num_repeats
        assert num_groups is not None
        assert num_repeats is not None
        visit = min(step, self.steps - 1) * num_groups * num_repeats // self.steps
        return _part(self.num_people, visit % num_groups, num_groups)

    def num_active(self, num_widenings: int) -> int | None:
        """The number of people an adaptive curriculum trains on after ``num_widenings``; None for other kinds."""
        size, growth = self.config.initial_individuals, self.config.growth
        if size is None or (num_widenings and growth is None):
            return None if size is None else self.num_people
        for _ in range(num_widenings):
            assert growth is not None
            size = min(self.num_people, math.ceil(size * growth))
        return size

    def buckets(self) -> dict[str, range]:
        """Bucket name -> the ranks in it, by how often they are shown; empty when all are shown equally often."""
        config, everyone = self.config, range(self.num_people)
        if config.kind == "power_law":
            return {name: _part(self.num_people, part, 3) for part, name in enumerate(("head", "middle", "tail"))}
        if config.kind == "sequential":
            assert config.num_groups is not None
            return {f"group_{g}": _part(self.num_people, g, config.num_groups) for g in range(config.num_groups)}
        if config.kind == "celebrities":
            return {"celebrities": everyone[: config.num_celebrities], "rest": everyone[config.num_celebrities :]}
        if config.kind in ("warmup", "adaptive"):
            first = config.warmup_individuals or config.initial_individuals
            return {"inside": everyone[:first], "outside": everyone[first:]}
        return {}


def _part(size: int, part: int, num_parts: int) -> range:
    return range(size * part // num_parts, size * (part + 1) // num_parts)


def inverse_power(num_people: int, exponent: float) -> np.ndarray:
    """i^(−exponent) for i = 1 … ``num_people``.

    It uses only products, square roots and a quotient, which IEEE 754 rounds the same way on every machine. That does
    not hold for ``pow``.
    """
    rank_P = np.arange(1, num_people + 1, dtype=np.float64)
    power_P, factor_P = np.ones(num_people), rank_P.copy()
    fraction, whole = math.modf(exponent)
    with np.errstate(over="ignore"):  # on overflow the weight becomes 1 / inf = 0
        remaining = int(whole)
        while remaining:
            if remaining & 1:
                power_P *= factor_P
            factor_P *= factor_P
            remaining >>= 1
        root_P = rank_P
        while fraction and root_P[-1] > 1:  # one binary digit of the exponent per pass
            root_P, fraction = np.sqrt(root_P), 2 * fraction
            if fraction >= 1:
                power_P *= root_P
                fraction -= 1
    return 1 / power_P


def cumulative_table(weight_P: np.ndarray) -> np.ndarray:
    """Cumulative weights as integers that end at exactly 2^62, so that 62 random bits select a person without bias."""
    weight_P = weight_P / weight_P.max()
    share_P = np.rint(weight_P * (_TABLE_TOTAL / math.fsum(weight_P.tolist()))).astype(np.int64)
    share_P[share_P.argmax()] += _TABLE_TOTAL - share_P.sum()  # the rounding error, less than one part in 10^12
    return np.cumsum(share_P)
