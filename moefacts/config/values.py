"""What every value of a configuration must be, whatever it is for: finite, of a size that means something, printable.

What one setting must be beyond this is checked by the dataclass that has it.
"""

import dataclasses
import math
from typing import Any

from moefacts.config.fields import section_of
from moefacts.errors import UserError

MOST = (
    10**12
)  # more steps, people, bytes or units of any kind than anybody has; their products still fit 64 bits' floats
_ANY_SIZE = ("seed",)
_SHOWN = 40


def check_types(schema: Any, values: Any, prefix: str = "") -> None:
    """Refuse what a conversion to the types of ``schema`` would accept with another meaning: a number as truth value.

    Args:
        schema: a dataclass.
        values: a mapping with settings of ``schema``, before they are converted.
        prefix: goes before the keys in messages.

    Raises:
        UserError: naming the setting.
    """
    for field in dataclasses.fields(schema):
        key, part = f"{prefix}{field.name}", section_of(field)
        try:
            value = values.get(field.name)
        except Exception:  # a missing value or a wrong interpolation, which the conversion reports
            continue
        if part is not None and hasattr(value, "get"):
            check_types(part, value, f"{key}.")
        elif field.type is bool and isinstance(value, (int, float)) and value not in (0, 1):
            raise UserError(f"{key}={shown(value)} is not a valid value; it must be true or false")


def check_values(value: Any, key: str = "") -> None:
    """Check every number and text in ``value``, a dataclass, dictionary, list or plain value.

    Raises:
        UserError: naming the setting.
    """
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            check_values(getattr(value, field.name), f"{key}.{field.name}".lstrip("."))
    elif isinstance(value, dict):
        for name, part in value.items():
            check_values(str(name), key)
            check_values(part, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for part in value:
            check_values(part, key)
    elif isinstance(value, str):
        if not value.isprintable():
            raise UserError(f"{key}={value!r} has a character that cannot be printed; leave it out")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}={value} must be finite")
    elif isinstance(value, (int, float)) and abs(value) > MOST and key not in _ANY_SIZE:
        extreme = f"large; it must be at most {MOST:,}" if value > 0 else f"small; it must be at least {-MOST:,}"
        raise UserError(f"{key}={shown(value)} is too {extreme}")


def shown(value: object) -> str:
    """A value as a message shows it, cut short if it is long."""
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return "a number of more than 40 digits"  # Python refuses to print those of more than 4300
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
