"""What a folder holds, without what differs from time to time: how long things took, and who waited for whom."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from moefacts.runs import layout
from moefacts.training.checkpoint import STATE
from moefacts.training.checksums import CHECKSUMS

_LOCKS = (layout.LOCK, layout.WRITING_LOCK)
_OF_TIME = {"wall_seconds", "resumed_from", "git_commit", "timing"}


def snapshot(folder: Path) -> dict[str, Any]:
    """Every file and folder below ``folder`` but locks -> what it holds; of pages, only that they are there."""
    paths = sorted(path for path in folder.rglob("*") if path.name not in _LOCKS)
    return {str(path.relative_to(folder)): _content(path) for path in paths}


def _content(path: Path) -> Any:
    if path.is_dir():
        return "folder"
    if path.suffix in (".html", ".log"):
        return "page"
    if path.name == layout.METRICS:
        return [_without_time(json.loads(line)) for line in path.read_text().splitlines()]
    if path.name in (layout.MANIFEST, STATE, "results.json"):
        return _without_time(json.loads(path.read_text()))
    if path.name == CHECKSUMS:  # that of the state, which holds a time, differs
        return [line for line in path.read_text().splitlines() if not line.startswith(STATE)]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_time(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in _OF_TIME and not key.startswith("throughput/")}
        return {key: _without_time(item) for key, item in kept.items()}
    return [_without_time(item) for item in value] if isinstance(value, list) else value


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """The first names in which two snapshots differ; None if they are equal."""
    names = sorted(name for name in found.keys() | expected.keys() if _differ(found.get(name), expected.get(name)))
    if not names:
        return None
    word = {True: "differs", False: "is left over"}
    shown = [f"{name} {word[name in expected] if name in found else 'is missing'}" for name in names[:4]]
    return ", ".join(shown) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _differ(left: Any, right: Any) -> bool:
    return repr(left) != repr(right)  # in which NaN is like itself
