"""The pools that names and attribute values are drawn from: text files with one value per line."""

from dataclasses import dataclass, fields
from functools import cached_property
from importlib import resources

from moefacts.errors import UserError, check_at_least

ATTRIBUTES = ("birth_date", "birthplace", "location", "university", "major", "company")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS_PER_MONTH = 31  # day, month and year are independent, so impossible dates occur (as in the study)
FIRST_YEAR = 1900
MAX_YEARS = 200


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
    """The names and values in use. ``cities`` serves birthplace and, independently, location."""

    first_names: tuple[str, ...]
    middle_names: tuple[str, ...]
    last_names: tuple[str, ...]
    cities: tuple[str, ...]
    universities: tuple[str, ...]
    majors: tuple[str, ...]
    companies: tuple[str, ...]
    years: int

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
        """The number of different full names."""
        return len(self.first_names) * len(self.middle_names) * len(self.last_names)


def _read_pool(name: str) -> tuple[str, ...]:
    text = resources.files(__package__).joinpath("pools", f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def full_pools() -> Pools:
    """The pools at the study's full sizes."""
    names = [field.name for field in fields(Pools) if field.name != "years"]
    return Pools(**{name: _read_pool(name) for name in names}, years=MAX_YEARS)


def load_pools(sizes: PoolSizes) -> Pools:
    """The first ``sizes`` entries of every pool.

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
        chosen[field.name] = wanted if field.name == "years" else entries[:wanted]
    return Pools(**chosen)
