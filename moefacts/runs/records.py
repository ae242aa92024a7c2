"""The record of a run: ``metrics.jsonl``, one JSON object per line."""

import json
from pathlib import Path
from typing import Any

from moefacts.errors import UserError
from moefacts.runs import layout

_TAIL_BYTES = 1 << 16


def read_metrics(path: Path, torn_end: str = "refuse") -> list[dict[str, Any]]:
    """The records of a metrics file, in order.

    Args:
        path: the file.
        torn_end: what to do with a last line that a crash cut short: "refuse" it, or "drop" it.

    Raises:
        UserError: with file and line number, when a record is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    records = []
    for number, line in enumerate(lines, start=1):
        is_last = number == len(lines)
        if is_last and (not line or torn_end == "drop"):
            break
        try:
            record = json.loads(line)
            if is_last or not isinstance(record, dict) or not isinstance(record.get("step"), int):
                raise ValueError
        except ValueError:
            remedy = "; `moefacts train --resume` on this run repairs it" if is_last else ""
            raise UserError(f"{path} line {number} is damaged or cut short{remedy}") from None
        records.append(record)
    return records


def last_step(run: Path) -> int:
    """The newest step in the metrics of a run, which may still be training; 0 when there is none."""
    try:
        with (run / layout.METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            whole_lines = file.read().split(b"\n")[:-1]
        return int(json.loads(whole_lines[-1])["step"])
    except (OSError, IndexError, KeyError, ValueError):
        return 0
