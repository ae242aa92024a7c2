"""A run's manifest: what it was trained with, and its state."""

import hashlib
from pathlib import Path
from typing import Any, Literal, Required

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic takes the one of the standard library from Python 3.12 on

from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.locks import is_being_trained
from moefacts.runs.records import last_step
from moefacts.runs.stored import Count, NotNegative, Positive, read_json

RUNNING, FINISHED, INTERRUPTED, FAILED = "running", "finished", "interrupted", "failed"
KILLED = "killed"  # the manifest says that the run is running, but no process holds its lock


class Counts(TypedDict):
    """Numbers of parameters (``models.architecture.ParameterCounts``)."""

    total: Count
    embedding: Count
    active: Count
    non_embedding: Count


class Manifest(TypedDict, total=False):
    """The entries of a manifest. A run has only the required ones until it begins to train.

    Entries of other versions are kept.
    """

    state: Required[Literal["running", "finished", "interrupted", "failed"]]
    versions: Required[dict[str, str]]
    command: str
    processes: Count
    git_commit: str | None
    device: str
    platform: str
    parameters: Counts
    trained_parameters: Count  # those that learn
    replay_accuracy: NotNegative  # the share of true values among those that the model says of replayed people
    vocab_size: Count
    population_fingerprint: str
    no_knowledge_baseline: Positive
    no_knowledge_baseline_by_attribute: list[NotNegative]
    resumed_from: Count | None
    last_step: Count
    tokens: Count
    plateau_end: Count | None
    config_sha256: str  # of the settings' file, when training began or went on
    seen_before: list[tuple[Count, Count]]  # by the weights that training started from (training.initial)
    wall_seconds: NotNegative


_MANIFEST = TypeAdapter(Manifest)


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run directory.

    Raises:
        UserError: ``run`` is not a run directory of moefacts, or its manifest is damaged.
    """
    if not run.is_dir():
        raise UserError(f"there is no run directory {run}")
    manifest = read_json(run / layout.MANIFEST, "run directory", _MANIFEST)
    if "moefacts" not in manifest["versions"]:
        raise UserError(f"{run / layout.MANIFEST}: versions.moefacts: got nothing, expected the version of moefacts")
    return manifest


def current_state(run: Path, manifest: dict[str, Any]) -> str:
    """The state of a run: what its manifest says, or killed when it says running but no process holds the lock.

    Raises:
        UserError: whether a process holds the lock cannot be known.
    """
    state = str(manifest["state"])
    return KILLED if state == RUNNING and not is_being_trained(run) else state


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def what_was_changed(run: Path, manifest: dict[str, Any]) -> str:
    """What is not as a finished run left it, as far as that can be seen at a glance; empty if nothing is."""
    if manifest["state"] != FINISHED:
        return ""
    recorded, written, last = manifest.get("config_sha256"), manifest.get("last_step"), last_step(run)
    if recorded is not None and recorded != sha256_of(run / layout.CONFIG):
        return f"{run / layout.CONFIG} is not the file with which the run was trained; restore it"
    if written is not None and last < written:
        return f"{run / layout.METRICS} has lost what was recorded after step {last:,} of {written:,}"
    return ""
