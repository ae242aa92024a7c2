"""A run directory held open by the process that trains in it: lock, manifest and metrics file."""

import dataclasses
import functools
import json
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from moefacts import __version__
from moefacts.config.identity import identity
from moefacts.config.loader import config_yaml, read_config
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.durable import write_durably
from moefacts.runs.fingerprint import check_population
from moefacts.runs.locks import lock_run
from moefacts.runs.manifest import read_manifest
from moefacts.runs.records import intact_records
from moefacts.runs.temporary import remove, sweep_run
from moefacts.training.distributed import from_main, is_main

_RECORDED_PACKAGES = ("torch", "numpy", "tokenizers", "safetensors", "hydra-core", "sentencepiece", "mistral-common")


class RunDirectory:
    """A context manager that holds a run directory; meanwhile no other process can train in it.

    Args:
        path: the directory.
        config: the run's configuration.
        extend: whether the run that is there may have fewer steps, so that it is made as long as ``config`` says.

    Raises:
        UserError: on opening, when another process holds the directory, when it belongs to a different configuration
            or population, or when the path is not a run directory.
    """

    def __init__(self, path: Path, config: RunConfig, extend: bool = False):
        self.path = path
        self.config = config
        self._extend = extend
        self._lock: FileLock | None = None
        self.manifest: dict[str, Any] = {}

    def __enter__(self) -> "RunDirectory":
        self._refuse_foreign()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = lock_run(self.path)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def _refuse_foreign(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"run.dir={self.path} is a file; it must be a folder")
        ours = (self.path / layout.CONFIG).exists() or (self.path / layout.LOCK).exists()
        if self.path.is_dir() and not ours and any(self.path.iterdir()):
            raise UserError(f"{self.path} is neither empty nor a run directory; give another run.dir")

    def _open(self) -> None:
        config_path = self.path / layout.CONFIG
        shorter: RunConfig | None = None
        if config_path.exists():
            stored = read_config(config_path)
            differing = sorted(_different_keys(identity(stored), identity(self.config)))
            if self._extend and differing == ["training.steps"]:
                shorter = stored
            elif differing:
                raise UserError(
                    f"{self.path} holds a run with another configuration (different: {', '.join(differing)}); give "
                    "another run.dir"
                )
        else:
            write_durably(config_path, config_yaml(self.config).encode())
        checkpoints = self.path / layout.CHECKPOINTS
        checkpoints.mkdir(exist_ok=True)
        self._remove_left_overs()
        if (self.path / layout.MANIFEST).exists():
            self.manifest = read_manifest(self.path)
            check_population(self.path, self.config, self.manifest)
        else:
            self.update_manifest(state="running", versions=_versions())
        if shorter is not None:
            self._make_longer(shorter)

    def _make_longer(self, stored: RunConfig) -> None:
        """Give the stored run the steps of this one. Killed in between, it is an interrupted run of the former."""
        if self.is_finished and self.manifest.get("last_step", stored.training.steps) < stored.training.steps:
            raise UserError(f"{self.path} was ended by its stop rule, before training.steps={stored.training.steps}")
        self.update_manifest(state="interrupted")
        for table in (self.path / layout.PROBES).glob("*.parquet"):  # of checkpoints that are not the last ones now
            table.unlink()
        stored.training.steps = self.config.training.steps
        write_durably(self.path / layout.CONFIG, config_yaml(stored).encode())

    def _remove_left_overs(self) -> None:
        """Remove what killed processes left half-written. What only the holder of the lock writes is of none alive."""
        for file in (layout.CONFIG, layout.MANIFEST, layout.METRICS, f"{layout.CHECKPOINTS}/"):
            parent, _, name = file.rpartition("/")
            for left_over in list((self.path / parent).glob(f".{name}*.tmp")):
                remove(left_over)
        for folder in (self.path, self.path / layout.PROBES, self.path / layout.FIGURES):
            sweep_run(folder)

    @property
    def is_finished(self) -> bool:
        """Whether training and its final measurements have ended."""
        return self.manifest.get("state") == "finished"

    def update_manifest(self, **entries: Any) -> None:
        """Add or replace entries of the manifest, durably."""
        self.manifest.update(entries)
        text = json.dumps(self.manifest, indent=2) + "\n"
        write_durably(self.path / layout.MANIFEST, text.encode())

    def truncate_metrics(self, num_records: int) -> None:
        """Keep the first ``num_records`` records; a resumed run writes the later ones again.

        Raises:
            UserError: the file holds fewer intact records. It is then left unchanged.
        """
        path = self.path / layout.METRICS
        records, _ = intact_records(path)
        if len(records) < num_records:
            raise UserError(
                f"{path} has lost records: {num_records} were written before the checkpoint to resume from, but only "
                f"{len(records)} are left; restore the file, or train the run again in another run.dir"
            )
        kept = "".join(json.dumps(record) + "\n" for record in records[:num_records])
        write_durably(path, kept.encode())


class FollowedRun(RunDirectory):
    """The run directory for processes other than the main one, which know its path and manifest but never write."""

    def __enter__(self) -> "FollowedRun":
        return self

    def update_manifest(self, **entries: Any) -> None:
        """Does nothing; the main process writes the manifest."""

    def truncate_metrics(self, num_records: int) -> None:
        """Does nothing; the main process writes the metrics."""


@contextmanager
def shared_run_directory(path: Path, config: RunConfig, extend: bool = False) -> Iterator[RunDirectory]:
    """A context with the run directory, which the main process holds until the end.

    Raises:
        UserError: in the main process, as for ``RunDirectory``; the other processes end with it.
    """
    with (RunDirectory if is_main() else FollowedRun)(path, config, extend) as run:
        run.path, run.manifest = from_main((run.path, run.manifest))
        yield run


def _different_keys(left: dict, right: dict, prefix: str = "") -> list[str]:
    keys = []
    for key in left.keys() | right.keys():
        a, b = left.get(key), right.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            keys += _different_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            keys.append(prefix + key)
    return keys


def provenance(device: str) -> dict[str, Any]:
    """Manifest entries that a reader needs to repeat the run elsewhere: versions, commit, device, platform."""
    return {"versions": _versions(), "git_commit": _git_commit(), "device": device, "platform": platform.platform()}


@functools.cache
def _versions() -> dict[str, str]:
    versions = {"moefacts": __version__, "python": platform.python_version()}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit of the code, with "-dirty" appended when the package differs from it; None outside a repository."""
    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def counts_as_dict(counts: Any) -> dict[str, int]:
    """Parameter counts for the manifest."""
    return {**dataclasses.asdict(counts), "non_embedding": counts.non_embedding}
