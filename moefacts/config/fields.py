"""The settings of a schema: which there are, and which of them are sections."""

import dataclasses
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
