"""Read files that anybody may have written or damaged: bounded in size and depth, and checked against a schema.

A schema is a dataclass or typed dictionary whose fields have the types below, which convert nothing: a number in quotes
is not a number. An error has the form ``FILE: field: got …, expected …``.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from moefacts.errors import UserError

Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
Real = Annotated[float, Field(strict=True, gt=-1e39, lt=1e39)]  # finite, and no wider than single precision
Positive = Annotated[Real, Field(gt=0)]
Truth = Annotated[bool, Field(strict=True)]
NotNegative = Annotated[Real, Field(ge=0)]

_MOST_BYTES = 1 << 20  # a manifest or a state has a few thousand
_SHOWN = 40


def read_json(path: Path, what: str, schema: TypeAdapter[Any], most_bytes: int = _MOST_BYTES) -> dict[str, Any]:
    """Read a JSON object that fits ``schema`` from a file in a folder that should be a ``what``: "run directory".

    Returns:
        The whole object, with what the schema does not name.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        value = parse_json(read_bounded(path, most_bytes))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path.parent} is not a {what}: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged and cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: got {shown(value)}, expected one JSON object")
    try:
        schema.validate_python(value)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_fault(error)}") from None
    return value


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more than ``most_bytes`` bytes, which are not read.
    """
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes")
    return content


def parse_json(text: bytes, allow_nan: bool = False) -> Any:
    """The value of a JSON text. Its depth is bounded. NaN and infinity, which JSON does not have, are usually refused.

    Raises:
        ValueError: it is not JSON.
    """
    return from_json(text, allow_inf_nan=allow_nan)


def shown(value: Any) -> str:
    """A value of a file as an error shows it, which is in one short line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    field = ".".join(map(str, fault["loc"])) or "everything"
    if fault["type"] == "missing":
        return f"{field}: got nothing, expected a value"
    expected = fault["msg"].removeprefix("Input should be ")
    return f"{field}: got {shown(fault['input'])}, expected {expected}"
