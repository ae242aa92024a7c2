"""A population of synthetic people: integer tables that are a pure function of (seed, individual, pools)."""

import hashlib
import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from moefacts.errors import UserError, check_at_least, check_choice
from moefacts.synthetic_data.cohorts import (
    ALL,
    COHORTS,
    NEW,
    ON_REQUEST,
    SEEN,
    STRANGERS,
    UNSEEN,
    UNSEEN_PARTS,
    CohortConfig,
    check_cohorts,
    cohort_ranges,
)
from moefacts.synthetic_data.pools import ATTRIBUTES, Pools, PoolSizes, load_pools
from moefacts.synthetic_data.randomness import random_below, random_permutation, stream_key
from moefacts.synthetic_data.templates import Templates, load_templates
from moefacts.synthetic_data.value_halves import check_halves, draw_from_half, half_of_values

_MAX_SPLITS = 1 << 16


@dataclass
class PopulationConfig:
    """Sizes of a population: ``size`` people to train on, ``unseen`` never shown, ``new`` kept for fine-tuning.

    ``cohorts`` names parts of these three that can be trained on or evaluated separately, and whose facts can be drawn
    from one half of the values. Everybody else is the same with and without the people below, who come last.

    Attributes:
        strangers: people on whom ``uncertainty.strangers`` teaches that nothing is known of them.
        unseen_parts: people none of whose three names anybody else has, never shown.
        held_out_names: how many first names, middle names and last names only they have: those that follow in the
            files on the ones that ``pools`` counts.
    """

    size: int
    unseen: int
    new: int
    held_out_templates: int
    pools: PoolSizes
    cohorts: dict[str, CohortConfig] | None = None
    strangers: int = 0
    unseen_parts: int = 0
    held_out_names: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        """Built-in cohort -> number of people in it, in the order of their individuals."""
        on_request = {STRANGERS: self.strangers, UNSEEN_PARTS: self.unseen_parts}
        return {SEEN: self.size, UNSEEN: self.unseen, NEW: self.new} | {k: n for k, n in on_request.items() if n}

    def cohort_range(self, name: str) -> range:
        """The individuals of the cohort ``name``.

        Raises:
            UserError: there is no such cohort, or it is empty.
        """
        ranges = cohort_ranges(self.cohorts or {}, self.sizes)
        if name not in ON_REQUEST:
            check_choice("cohort", name, ranges)
        if not len(ranges.get(name, ())):
            raise UserError(f"the cohort {name} is empty; raise population.{name}")
        return ranges[name]

    def check(self) -> None:
        """Raise ``UserError`` when a size is wrong by itself."""
        check_at_least("population.size", self.size, 1)
        check_at_least("population.unseen", self.unseen, 1)
        check_at_least("population.new", self.new, 0)
        check_at_least("population.held_out_templates", self.held_out_templates, 1)
        for key in ("strangers", "unseen_parts", "held_out_names"):
            check_at_least(f"population.{key}", getattr(self, key), 0)
        if self.unseen_parts > self.held_out_names**3:
            raise UserError(
                f"population.unseen_parts={self.unseen_parts} people need as many names of parts that nobody else has, "
                f"but population.held_out_names={self.held_out_names} make {self.held_out_names**3}; hold out more"
            )
        if self.held_out_names and not self.unseen_parts:
            raise UserError(
                f"population.held_out_names={self.held_out_names} has no effect without population.unseen_parts; leave "
                "it out"
            )
        check_cohorts(self.cohorts or {}, self.sizes)
        check_halves(self.cohorts or {}, self.pools)


class TemplateSplits:
    """All ways to hold out some of the templates, numbered so that one small integer stores an individual's split.

    Attributes:
        held_out_SH: template indices held out under split S.
        trained_SJ: template indices trained on under split S.
    """

    def __init__(self, num_templates: int, num_held_out: int):
        if not 1 <= num_held_out < num_templates or math.comb(num_templates, num_held_out) > _MAX_SPLITS:
            raise UserError(
                f"population.held_out_templates={num_held_out} does not fit {num_templates} templates; "
                f"it must lie between 1 and {num_templates - 1} and give at most {_MAX_SPLITS} different splits"
            )
        self.held_out_SH = np.array(list(itertools.combinations(range(num_templates), num_held_out)), dtype=np.int16)
        is_trained_SM = np.ones((len(self.held_out_SH), num_templates), dtype=bool)
        np.put_along_axis(is_trained_SM, self.held_out_SH.astype(np.int64), False, axis=1)
        self.trained_SJ = np.nonzero(is_trained_SM)[1].reshape(len(self.held_out_SH), -1).astype(np.int16)

    def __len__(self) -> int:
        return len(self.held_out_SH)


@dataclass(frozen=True)
class Population:
    """All people and their facts. Shape legend: P people, A attributes (in the order of ``ATTRIBUTES``), V values.

    Attributes:
        name_P3: indices into the first, middle and last name pools; no two rows are equal.
        value_PA: index of each attribute value in its pool.
        split_PA: index of each person's and attribute's template split in ``splits``.
    """

    seed: int
    pools: Pools
    templates: Templates
    splits: TemplateSplits
    cohorts: dict[str, range]
    name_P3: np.ndarray
    value_PA: np.ndarray
    split_PA: np.ndarray

    def __len__(self) -> int:
        return len(self.name_P3)

    def cohort(self, name: str) -> range:
        """The individuals of a cohort: a built-in one, which are disjoint, or a named part of them."""
        return self.cohorts[name]

    def cohort_of(self, individual: int) -> str:
        """The built-in cohort of ``individual``, such as ``seen``."""
        return next(name for name in self._built_in if individual in self.cohorts[name])

    @property
    def _built_in(self) -> list[str]:
        return [*COHORTS, *(name for name in ON_REQUEST if name in self.cohorts)]

    def full_name(self, individual: int) -> str:
        """First, middle and last name, separated by spaces."""
        first, middle, last = self.name_P3[individual]
        return " ".join((self.pools.first_names[first], self.pools.middle_names[middle], self.pools.last_names[last]))

    def facts(self, individual: int) -> dict[str, str]:
        """Attribute -> value of one individual."""
        return {a: self.pools.values(a)[self.value_PA[individual, i]] for i, a in enumerate(ATTRIBUTES)}

    def half_of_values(self, attribute: str) -> np.ndarray:
        """The half of each of the attribute's values: 0 for ``first``, 1 for ``second``, as in ``HALVES``; (V,).

        It is a function of the seed and of the number of values, whether or not a cohort's facts are from one half.
        """
        return half_of_values(self.seed, attribute, len(self.pools.values(attribute)))

    def find(self, full_name: str) -> int | None:
        """The individual with this full name, or None when nobody has it."""
        pools = (self.pools.first_names, self.pools.middle_names, self.pools.last_names)
        parts = full_name.split()
        if len(parts) != 3 or any(part not in pool for part, pool in zip(parts, pools, strict=True)):
            return None
        wanted = [pool.index(part) for part, pool in zip(parts, pools, strict=True)]
        matches = np.flatnonzero((self.name_P3 == wanted).all(axis=1))
        return int(matches[0]) if matches.size else None

    @property
    def no_knowledge_baseline_A(self) -> np.ndarray:
        """Attribute loss, in nats, of a model that knows each attribute's values but not whose they are: ln(values).

        It is that of people whose facts are drawn from all values, even if those of some cohorts are from one half.
        """
        return np.array([math.log(len(self.pools.values(attribute))) for attribute in ATTRIBUTES])

    @property
    def no_knowledge_baseline(self) -> float:
        """Mean of ``no_knowledge_baseline_A`` over attributes, in nats (study, section 2)."""
        return float(self.no_knowledge_baseline_A.mean())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over pools, templates, cohorts and tables, the same on every machine and library version."""
        digest = hashlib.sha256()
        texts = [self.pools.first_names, self.pools.middle_names, self.pools.last_names]
        texts += [self.pools.values(attribute) for attribute in ATTRIBUTES]
        texts += [tuple(t.fill("[name]", "[value]") for t in self.templates[attribute]) for attribute in ATTRIBUTES]
        for entries in texts:
            digest.update("\n".join(entries).encode() + b"\0")
        digest.update(repr([len(self.cohorts[cohort]) for cohort in self._built_in]).encode())
        for table, dtype in ((self.name_P3, "<i2"), (self.value_PA, "<i4"), (self.split_PA, "<u2")):
            digest.update(np.ascontiguousarray(table, dtype=dtype).data)
        return digest.hexdigest()


def build_population(config: PopulationConfig, seed: int) -> Population:
    """Build the population that ``config`` and ``seed`` determine.

    Raises:
        UserError: a size is impossible, or there are more people than full names.
    """
    config.check()
    pools = load_pools(config.pools, config.held_out_names)
    templates = load_templates(pools)
    splits = TemplateSplits(len(templates[ATTRIBUTES[0]]), config.held_out_templates)
    num_people = sum(config.sizes.values())
    num_usual = num_people - config.unseen_parts
    if num_usual > pools.num_names:
        strangers = f", {config.strangers} strangers" if config.strangers else ""
        raise UserError(
            f"population.size={config.size} with {config.unseen} unseen{strangers} and {config.new} new people needs "
            f"{num_usual} names, but the pools make only {pools.num_names}; enlarge population.pools or take fewer "
            "people"
        )
    person_P = np.arange(num_people, dtype=np.int64)
    first, middle, last = pools.num_usual_names
    held_out = config.held_out_names
    name_P = random_permutation(stream_key(seed, "name"), person_P[:num_usual], pools.num_names)
    part_P = random_permutation(stream_key(seed, "unseen parts"), person_P[: config.unseen_parts], held_out**3)
    of_parts_P3 = _split_names(part_P, held_out, held_out) + np.array([first, middle, last])
    name_P3 = np.concatenate([_split_names(name_P, middle, last), of_parts_P3]).astype(np.int16)
    value_PA = np.empty((num_people, len(ATTRIBUTES)), dtype=np.int32)
    split_PA = np.empty((num_people, len(ATTRIBUTES)), dtype=np.uint16)
    for a, attribute in enumerate(ATTRIBUTES):
        value_PA[:, a] = random_below(stream_key(seed, "value", attribute), person_P, len(pools.values(attribute)))
        split_PA[:, a] = random_below(stream_key(seed, "split", attribute), person_P, len(splits))
    cohorts = cohort_ranges(config.cohorts or {}, config.sizes)
    for name, cohort in (config.cohorts or {}).items():
        if cohort.values != ALL:
            people = slice(cohorts[name].start, cohorts[name].stop)
            value_PA[people] = draw_from_half(seed, pools, cohort.values, person_P[people])
    return Population(seed, pools, templates, splits, cohorts, name_P3, value_PA, split_PA)


def _split_names(name_P: np.ndarray, num_middle: int, num_last: int) -> np.ndarray:
    """The places of first, middle and last name in their pools, (P, 3); the last varies fastest with ``name_P``."""
    rest_P, last_P = np.divmod(name_P, max(1, num_last))
    return np.stack([*np.divmod(rest_P, max(1, num_middle)), last_P], axis=1)
