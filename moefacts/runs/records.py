"""The record of a run: ``metrics.jsonl``, one JSON object per line."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moefacts.errors import UserError
from moefacts.runs import keys, layout

_TAIL_BYTES = 1 << 16


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file, in order.

    Raises:
        UserError: with file and line number, when a record is damaged or its step is out of order.
    """
    return list(_records(path))


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
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    before: dict[str, Any] = {keys.STEP: 0}
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        is_last = number == len(lines)
        if is_last and not line:
            return
        try:
            record = json.loads(line)
            if is_last or not _is_record(record):
                raise ValueError
        except (ValueError, RecursionError):
            raise UserError(f"{path} line {number} is damaged or cut short; {_REMEDY}") from None
        seen = (seen if record[keys.STEP] == before[keys.STEP] else set()) - {keys.STEP}
        if record[keys.STEP] < before[keys.STEP] or not seen.isdisjoint(record):
            raise UserError(f"{path} line {number} does not follow the step of the line before; {_REMEDY}")
        seen |= record.keys()
        before = record
        yield record


_REMEDY = "`moefacts train --resume` on this run writes it again if a checkpoint before it can be resumed"


def _is_record(record: Any) -> bool:
    """Whether this is a step with numbers, all of them finite."""
    if not isinstance(record, dict) or type(record.get(keys.STEP)) is not int or record[keys.STEP] < 0:
        return False
    return all(type(value) in (int, float) and abs(value) <= sys.float_info.max for value in record.values())


def last_step(run: Path) -> int:
    """The newest step in the metrics of a run, which may still be training; 0 when there is none."""
    try:
        with (run / layout.METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            whole_lines = file.read().split(b"\n")[:-1]
        return int(json.loads(whole_lines[-1])["step"])
    except (OSError, IndexError, KeyError, ValueError):
        return 0
