"""The files of a run directory: their names, how they are written so that a crash cannot tear them, and read back."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from moefacts.errors import UserError

CONFIG, MANIFEST, METRICS, LOCK = "config.yaml", "manifest.json", "metrics.jsonl", ".lock"
CHECKPOINTS, PROBES, FIGURES, REPORT = "checkpoints", "probes", "figures", "report.html"
CONFIDENCE, ATTENTION = "confidence.parquet", "attention.parquet"
ROUTING_TABLES = ("use", "information", "vocabulary", "coactivation", "saturation", "ablation", "biography")
PLATEAU_CEILING = 1.1  # a run is on its plateau once its attribute loss is within 10% of the baseline
STATES = ("running", "finished", "interrupted", "failed")


def write_durably(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write a file so that its name holds the old content or all of the new, whatever happens in between.

    Args:
        path: the file.
        content: its bytes, or a function that writes them to the path it is given.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path.parent} is not a {what}: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged and cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: it must hold one JSON object")
    return value


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run directory.

    Raises:
        UserError: this is no run directory of moefacts, or its manifest is damaged.
    """
    if not run.is_dir():
        raise UserError(f"there is no run directory {run}")
    manifest = read_json(run / MANIFEST, "run directory")
    versions = manifest.get("versions")
    if not isinstance(versions, dict) or "moefacts" not in versions or manifest.get("state") not in STATES:
        raise UserError(f"{run} is not a run directory of moefacts: its {MANIFEST} is of another kind")
    return manifest


def current_state(run: Path, manifest: dict[str, Any]) -> str:
    """The manifest's state; a run that says it is running while no process holds its lock was killed."""
    state = str(manifest["state"])
    if state != "running":
        return state
    try:
        with FileLock(run / LOCK, blocking=False):
            return "killed"
    except Timeout:
        return state


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
            mend = "; `moefacts train --resume` on this run mends it" if is_last else ""
            raise UserError(f"{path} line {number} is damaged or cut short{mend}") from None
        records.append(record)
    return records


def checkpoint_steps(run: Path) -> list[int]:
    """The steps of the complete checkpoints of a run, ascending."""
    names = (folder.name.removeprefix("step_") for folder in (run / CHECKPOINTS).glob("step_*"))
    return sorted(int(name) for name in names if name.isdecimal())


def checkpoint_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of ``step`` is kept."""
    return run / CHECKPOINTS / f"step_{step:08d}"


def routing_table(run: Path, name: str) -> Path:
    """Where the routing probe keeps the table ``name``, one of ``ROUTING_TABLES``."""
    return run / PROBES / f"routing_{name}.parquet"
