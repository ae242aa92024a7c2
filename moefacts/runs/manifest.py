"""A run's manifest: what it was trained with, and its state."""

import json
from pathlib import Path
from typing import Any

from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.locks import is_being_trained

RUNNING, FINISHED, INTERRUPTED, FAILED = "running", "finished", "interrupted", "failed"
STATES = (RUNNING, FINISHED, INTERRUPTED, FAILED)  # the states that a manifest can hold
KILLED = "killed"  # the manifest says that the run is running, but no process holds its lock


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object from a file in a folder that should be a ``what``, such as "run directory".

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path.parent} is not a {what}: it has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged and cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: it must hold one JSON object")
    return value


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run directory.

    Raises:
        UserError: ``run`` is not a run directory of moefacts, or its manifest is damaged.
    """
    if not run.is_dir():
        raise UserError(f"there is no run directory {run}")
    manifest = read_json(run / layout.MANIFEST, "run directory")
    versions = manifest.get("versions")
    if not isinstance(versions, dict) or "moefacts" not in versions or manifest.get("state") not in STATES:
        raise UserError(
            f"{run} is not a run directory of moefacts: its {layout.MANIFEST} lacks moefacts's version or a known state"
        )
    return manifest


def current_state(run: Path, manifest: dict[str, Any]) -> str:
    """The state of a run: what its manifest says, or killed when it says running but no process holds the lock.

    Raises:
        UserError: whether a process holds the lock cannot be known.
    """
    state = str(manifest["state"])
    return KILLED if state == RUNNING and not is_being_trained(run) else state
