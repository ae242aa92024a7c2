"""The record of a run: ``metrics.jsonl``, one JSON object per line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moefacts.errors import UserError
from moefacts.runs import keys, layout
from moefacts.runs.stored import parse_json, shown

_TAIL_BYTES = 1 << 16
_EVALUATIONS_BYTES = 1 << 20  # hold the last evaluations, also those with many experts
_MOST_LINE_BYTES = 1 << 24
_MOST = 1e39  # what is measured fits single precision
_REMEDY = "`moefacts train --resume` on this run writes it again if a checkpoint before it can be resumed"


class _WrongLine(UserError):
    """A record is damaged or out of order."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file, in order.

    Raises:
        UserError: with file and line number, when a record is damaged or its step is out of order.
    """
    try:
        return list(_records(path))
    except _WrongLine as error:
        raise UserError(f"{error}; {_REMEDY}") from None


def intact_records(path: Path) -> tuple[list[dict[str, Any]], str]:
    """The records before the first that is damaged, and what is wrong with that one, which is "" if there is none."""
    records: list[dict[str, Any]] = []
    try:
        for record in _records(path):
            records.append(record)  # one by one, so that those before the damaged one are kept
    except UserError as error:
        return records, str(error)
    return records, ""


def _records(path: Path) -> Iterator[dict[str, Any]]:
    step, seen = 0, set[str]()
    for number, line in enumerate(_lines(path), start=1):
        try:
            record = _record(line)
        except ValueError as error:
            raise _WrongLine(f"{path} line {number} {error}") from None
        seen = (seen if record[keys.STEP] == step else set()) - {keys.STEP}
        if record[keys.STEP] < step or not seen.isdisjoint(record):
            raise _WrongLine(f"{path} line {number} does not follow the step of the line before")
        seen |= record.keys()
        step = record[keys.STEP]
        yield record


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, of which a longer one than any record is cut."""
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.readline(_MOST_LINE_BYTES), b"")
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _record(line: bytes) -> dict[str, Any]:
    """The step and the finite numbers of a line.

    Raises:
        ValueError: it holds anything else; the message says what and where, to follow "line 3".
    """
    try:
        record = parse_json(line, allow_nan=True)  # so that the message below says where one is
    except ValueError:
        record = None
    if not line.endswith(b"\n") or not isinstance(record, dict):
        raise ValueError("is damaged or cut short")
    step = record.get(keys.STEP)
    if type(step) is not int or not 0 <= step < 1 << 63:
        raise ValueError(f"is damaged: {keys.STEP}: got {shown(step)}, expected a whole number from 0")
    for key, value in record.items():
        if type(value) not in (int, float) or not abs(value) < _MOST:
            raise ValueError(f"is damaged: {shown(key)}: got {shown(value)}, expected a finite number")
    return record


def last_step(run: Path) -> int:
    """The newest step in the metrics of a run, which may still be training; 0 when there is none."""
    try:
        with (run / layout.METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            whole_lines = file.read().split(b"\n")[:-1]
        step = parse_json(whole_lines[-1])[keys.STEP]
        return step if type(step) is int else 0
    except (OSError, IndexError, KeyError, TypeError, ValueError):
        return 0


def last_values(path: Path, *keys: str) -> list[float | None]:
    """The newest value of every key among the last records of a metrics file; None where they have no number."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _EVALUATIONS_BYTES))
            content = file.read()
    except OSError:
        return [None] * len(keys)
    return [_last_value(content, key) for key in keys]


def _last_value(content: bytes, key: str) -> float | None:
    place = content.rfind(f'"{key}":'.encode())
    line = content[content.rfind(b"\n", 0, place) + 1 : content.find(b"\n", place) + 1]
    try:
        return float(_record(line)[key])
    except (KeyError, ValueError):
        return None
