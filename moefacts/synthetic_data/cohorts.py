"""Cohorts, which are named sets of people: three in every population, two on request, and parts of these.

A part is a range of individuals. Its facts are drawn like everybody's, or from one half of every attribute's values.
"""

from dataclasses import dataclass
from itertools import combinations

from moefacts.errors import UserError, check_choice

SEEN, UNSEEN, NEW = "seen", "unseen", "new"
COHORTS = (SEEN, UNSEEN, NEW)  # in the order of their individuals
STRANGERS, UNSEEN_PARTS = "strangers", "unseen_parts"
ON_REQUEST = (STRANGERS, UNSEEN_PARTS)  # after these, in populations that have them
ALL, FIRST, SECOND = "all", "first", "second"
HALVES = (FIRST, SECOND)


@dataclass
class CohortConfig:
    """The people ``start`` to ``stop`` (exclusive; null: to the end) of the cohort ``part_of``, counted within it.

    ``values`` is the half of every attribute's values that their facts are drawn from, ``first`` or ``second``. With
    ``all``, the cohort does not change whatever facts its people have.
    """

    part_of: str = SEEN
    start: int = 0
    stop: int | None = None
    values: str = ALL


def check_cohorts(cohorts: dict[str, CohortConfig], sizes: dict[str, int]) -> None:
    """Raise ``UserError`` when a named cohort does not fit the built-in ones, whose ``sizes`` are given."""
    for name, cohort in cohorts.items():
        key = f"population.cohorts.{name}"
        if name in sizes or not name.replace("_", "").isalnum():
            built_in = ", ".join(sizes)
            raise UserError(f"{key}: a cohort's name must have only letters, digits and _, and be none of {built_in}")
        check_choice(f"{key}.part_of", cohort.part_of, tuple(sizes))
        check_choice(f"{key}.values", cohort.values, (ALL, *HALVES))
        size = sizes[cohort.part_of]
        stop = size if cohort.stop is None else cohort.stop
        if not 0 <= cohort.start < stop <= size:
            raise UserError(
                f"{key}: people {cohort.start} to {stop} are not part of the {size} people in {cohort.part_of}; "
                f"0 <= start < stop <= {size} must hold"
            )
    ranges = cohort_ranges(cohorts, sizes)
    for (name, cohort), (other_name, other) in combinations(cohorts.items(), 2):
        share = common(ranges[name], ranges[other_name])
        if share and ALL not in (cohort.values, other.values) and cohort.values != other.values:
            raise UserError(
                f"population.cohorts: {name} has values={cohort.values} and {other_name} has values={other.values}, "
                f"but they share people; give them different people, or the same half of the values"
            )


def common(people: range, others: range) -> range:
    """The individuals in both of two ranges; empty when there are none."""
    return range(max(people.start, others.start), min(people.stop, others.stop))


def cohort_ranges(cohorts: dict[str, CohortConfig], sizes: dict[str, int]) -> dict[str, range]:
    """The individuals of every cohort: first the built-in ones, which are disjoint, then the named parts."""
    ranges, start = {}, 0
    for name, size in sizes.items():
        ranges[name] = range(start, start + size)
        start += size
    return ranges | {name: ranges[part.part_of][part.start : part.stop] for name, part in cohorts.items()}
