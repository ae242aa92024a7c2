"""The settings of a schema: which there are, and which of them are sections."""

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator
from typing import Any


def config_keys(schema: Any, prefix: str = "") -> Iterator[str]:
    """Every setting of ``schema`` as a dotted key."""
    for key, _ in config_fields(schema, prefix):
        yield key


def config_fields(schema: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field]]:
    """Every setting of ``schema``: its dotted key and its field."""
    for field in dataclasses.fields(schema):
        part = section_of(field)
        if part is not None:
            yield from config_fields(part, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field


def section_of(field: dataclasses.Field) -> Any:
    """The dataclass of a field that is a section, optional or not; None for a plain setting."""
    options = (field.type, *(typing.get_args(field.type) if typing.get_origin(field.type) is types.UnionType else ()))
    return next((option for option in options if dataclasses.is_dataclass(option)), None)


@functools.cache
def _with_sections(schema: Any) -> list[tuple[dataclasses.Field, Any]]:
    return [(field, section_of(field)) for field in dataclasses.fields(schema)]


def neutral_value(field: dataclasses.Field) -> Any:
    """The neutral value of a setting, or ``MISSING``, which equals nothing, when the setting cannot be off."""
    return field.default_factory() if callable(field.default_factory) else field.default


def with_neutral_values(values: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Nested settings of ``schema``, with the neutral values of those that are missing.

    Raises:
        KeyError: one is missing that has none.
    """
    found = dict(values)
    for field, part in _with_sections(schema):
        if field.name not in found:
            if (neutral := neutral_value(field)) is dataclasses.MISSING:
                raise KeyError(field.name)
            found[field.name] = neutral if part is None or neutral is None else dataclasses.asdict(neutral)
        elif part is not None and isinstance(found[field.name], dict):
            found[field.name] = with_neutral_values(found[field.name], part)
    return found
