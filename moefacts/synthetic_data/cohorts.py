"""Cohorts, which are named sets of people: three in every population, and parts of these that a configuration names.

Everybody's facts are drawn the same way, so a part can be a range of individuals and needs no list.
"""

from dataclasses import dataclass

from moefacts.errors import UserError, check_choice

SEEN, UNSEEN, NEW = "seen", "unseen", "new"
COHORTS = (SEEN, UNSEEN, NEW)  # in the order of their individuals


@dataclass
class CohortConfig:
    """The people ``start`` to ``stop`` (exclusive; null: to the end) of the cohort ``part_of``, counted within it."""

    part_of: str = SEEN
    start: int = 0
    stop: int | None = None


def check_cohorts(cohorts: dict[str, CohortConfig], sizes: dict[str, int]) -> None:
    """Raise ``UserError`` when a named cohort does not fit the built-in ones, whose ``sizes`` are given."""
    for name, cohort in cohorts.items():
        key = f"population.cohorts.{name}"
        if name in COHORTS or not name.replace("_", "").isalnum():
            raise UserError(f"{key}: a cohort's name must have only letters, digits and _, and be none of {COHORTS}")
        check_choice(f"{key}.part_of", cohort.part_of, COHORTS)
        size = sizes[cohort.part_of]
        stop = size if cohort.stop is None else cohort.stop
        if not 0 <= cohort.start < stop <= size:
            raise UserError(
                f"{key}: people {cohort.start} to {stop} are not part of the {size} people in {cohort.part_of}; "
                f"0 <= start < stop <= {size} must hold"
            )


def cohort_ranges(cohorts: dict[str, CohortConfig], sizes: dict[str, int]) -> dict[str, range]:
    """The individuals of every cohort: first the three built-in ones, which are disjoint, then the named parts."""
    ranges, start = {}, 0
    for name in COHORTS:
        ranges[name] = range(start, start + sizes[name])
        start += sizes[name]
    return ranges | {name: ranges[part.part_of][part.start : part.stop] for name, part in cohorts.items()}
