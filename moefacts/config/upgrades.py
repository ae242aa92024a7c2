"""Upgrades of configurations that earlier versions stored, one format at a time.

A setting that is only added needs no upgrade: its default in the dataclass is its neutral value, and the loader fills
it in. An upgrade handles settings that were renamed, moved or given another meaning.
"""

from collections.abc import Callable
from typing import Any

from moefacts.errors import UserError

Values = dict[str, Any]
FORMAT = "format"  # the key that holds the number; a file without it is of format 1


def _from_1(values: Values) -> Values:
    """Format 2 introduced the format number and changed nothing else."""
    return values


# Format -> a pure function that turns its settings into those of the next format.
UPGRADES: dict[int, Callable[[Values], Values]] = {1: _from_1}
CURRENT_FORMAT = 1 + max(UPGRADES)


def upgraded(values: Values) -> Values:
    """The settings of a stored configuration in the present format, without the format number.

    Raises:
        UserError: a later version of moefacts wrote them, or the format number is invalid.
    """
    settings = {key: value for key, value in values.items() if key != FORMAT}
    number = values.get(FORMAT, 1)
    if type(number) is not int or number < 1:
        raise UserError(f"{FORMAT}={number} is not a valid format; it must be from 1 to {CURRENT_FORMAT}")
    if number > CURRENT_FORMAT:
        raise UserError(
            f"it has format {number}, which a later version of moefacts wrote; this one reads formats up to "
            f"{CURRENT_FORMAT}: pip install --upgrade moefacts"
        )
    for step in range(number, CURRENT_FORMAT):
        settings = UPGRADES[step](settings)
    return settings
