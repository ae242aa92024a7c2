"""The pools that names and attribute values are drawn from: text files with one value per line."""

import math
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import resources
from typing import Any

from moefacts.errors import UserError, check_at_least

ATTRIBUTES = ("birth_date", "birthplace", "location", "university", "major", "company")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS_PER_MONTH = 31  # day, month and year are independent, so impossible dates occur (as in the study)
FIRST_YEAR = 1900
MAX_YEARS = 200
_NAMES = ("first_names", "middle_names", "last_names")


@dataclass
class PoolSizes:
    """How many entries of each pool file are used, from its first on, and how many years from 1900 on."""

    first_names: int
    middle_names: int
    last_names: int
    cities: int
    universities: int
    majors: int
    companies: int
    years: int


@dataclass(frozen=True)
class Pools:
    """The names and values in use. ``cities`` serves birthplace and, independently, location.

    The last ``held_out_names`` entries of each pool of names are those of people of the cohort ``unseen_parts``, and of
    nobody else.
    """

    first_names: tuple[str, ...]
    middle_names: tuple[str, ...]
    last_names: tuple[str, ...]
    cities: tuple[str, ...]
    universities: tuple[str, ...]
    majors: tuple[str, ...]
    companies: tuple[str, ...]
    years: int
    held_out_names: int = 0

    @cached_property
    def birth_dates(self) -> tuple[str, ...]:
        """All dates as text; the day varies fastest, then the month, then the year."""
        return tuple(
            f"{day} {month} {year}"
            for year in range(FIRST_YEAR, FIRST_YEAR + self.years)
            for month in MONTHS
            for day in range(1, DAYS_PER_MONTH + 1)
        )

    def values(self, attribute: str) -> tuple[str, ...]:
        """All values that ``attribute`` can take."""
        pools = {
            "birth_date": self.birth_dates,
            "birthplace": self.cities,
            "location": self.cities,
            "university": self.universities,
            "major": self.majors,
            "company": self.companies,
        }
        return pools[attribute]

    @property
    def num_names(self) -> int:
        """The number of different full names, without those of held-out parts."""
        return math.prod(self.num_usual_names)

    @property
    def num_usual_names(self) -> tuple[int, int, int]:
        """The number of first, middle and last names that are not held out."""
        first, middle, last = (len(pool) for pool in (self.first_names, self.middle_names, self.last_names))
        return first - self.held_out_names, middle - self.held_out_names, last - self.held_out_names


def _read_pool(name: str) -> tuple[str, ...]:
    text = resources.files(__package__).joinpath("pools", f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def full_pools() -> Pools:
    """The pools at the study's full sizes."""
    names = [field.name for field in fields(PoolSizes) if field.name != "years"]
    entries: dict[str, Any] = {name: _read_pool(name) for name in names}
    return Pools(**entries, years=MAX_YEARS)


def load_pools(sizes: PoolSizes, held_out_names: int = 0) -> Pools:
    """The first ``sizes`` entries of every pool, and ``held_out_names`` more of those of names.

    Raises:
        UserError: a size is below 1 or above what the file holds.
    """
    full = full_pools()
    chosen: dict = {}
    for field in fields(PoolSizes):
        wanted, entries = getattr(sizes, field.name), getattr(full, field.name)
        key, available = f"population.pools.{field.name}", entries if field.name == "years" else len(entries)
        check_at_least(key, wanted, 1)
        if wanted > available:
            raise UserError(f"{key}={wanted} is too large; there are only {available}")
        more = held_out_names if field.name in _NAMES else 0
        if wanted + more > available:
            raise UserError(
                f"population.held_out_names={more} is too large for {key}={wanted}; there are only {available}, so "
                "lower one of them"
            )
        chosen[field.name] = wanted if field.name == "years" else entries[: wanted + more]
    return Pools(**chosen, held_out_names=held_out_names)
