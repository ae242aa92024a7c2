"""The record of a run: ``metrics.jsonl``, one JSON object per line."""

from pathlib import Path
from typing import Any

from moefacts.errors import UserError
from moefacts.runs import keys, layout
from moefacts.runs.stored import parse_json, shown

_TAIL_BYTES = 1 << 16
_MOST_LINE_BYTES = 1 << 24
_MOST = 1e39  # what is measured fits single precision


def read_metrics(path: Path, torn_end: str = "refuse") -> list[dict[str, Any]]:
    """The records of a metrics file, in order.

    Args:
        path: the file.
        torn_end: what to do with a last line that a crash cut short: "refuse" it, or "drop" it.

    Raises:
        UserError: with file and line number, when a record is damaged.
    """
    records = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MOST_LINE_BYTES), b""), start=1):
                is_whole = line.endswith(b"\n")
                if not is_whole and torn_end == "drop" and not file.peek(1):
                    break
                records.append(_record(line, path, number, is_torn=not is_whole and not file.peek(1)))
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return records


def _record(line: bytes, path: Path, number: int, is_torn: bool) -> dict[str, Any]:
    try:
        record = parse_json(line)
        if is_torn or not isinstance(record, dict):
            raise ValueError
    except ValueError:
        remedy = "; `moefacts train --resume` on this run repairs it" if is_torn else ""
        raise UserError(f"{path} line {number} is damaged or cut short{remedy}") from None
    step = record.get(keys.STEP)
    if type(step) is not int or not 0 <= step < 1 << 63:
        raise UserError(f"{path} line {number}: {keys.STEP}: got {shown(step)}, expected a whole number from 0")
    for key, value in record.items():
        if type(value) not in (int, float) or not abs(value) < _MOST:
            raise UserError(f"{path} line {number}: {shown(key)}: got {shown(value)}, expected a finite number")
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
