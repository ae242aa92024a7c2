"""Destinations of metrics: a file, which is the record, and optionally Weights & Biases as a mirror."""

import json
import os
import queue
import re
import secrets
import shlex
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

from moefacts.config.sections import WandbConfig
from moefacts.runs import layout
from moefacts.training.distributed import is_main

WANDB_ID = "wandb_id"  # the manifest's entry


class Sink(Protocol):
    """Anything that accepts metric records."""

    def log(self, record: dict[str, Any]) -> None:
        """Accept one record, which has the key ``step``."""

    def close(self) -> None:
        """Finish; nothing is logged after this."""


class MetricsFile:
    """Appends one JSON object per line; each line has reached the operating system when ``log`` returns."""

    def __init__(self, run: Path):
        self._file = (run / layout.METRICS).open("a", encoding="utf-8")

    def log(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Make everything logged so far survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class WandbMirror:
    """Sends records to Weights & Biases from its own thread, so that it can neither slow training down nor stop it."""

    _SECONDS_TO_FINISH = 30

    def __init__(self, config: WandbConfig, run: Path, settings: dict[str, Any], run_id: str):
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._unsent: Path | None = None  # files that nobody sends by itself
        self._thread = threading.Thread(target=self._work, args=(config, run, settings, run_id), daemon=True)
        self._thread.start()

    def _work(self, config: WandbConfig, run: Path, settings: dict[str, Any], run_id: str) -> None:
        try:
            import wandb

            session = wandb.init(
                mode=config.mode,  # type: ignore[arg-type]
                project=config.project,
                entity=config.entity,
                name=run.name,
                id=run_id,
                resume="allow",  # whether a run of this id exists is known to W&B alone
                dir=run,
                config=settings,
                settings=wandb.Settings(console="off", disable_git=True, x_disable_stats=True, silent=True),
            )
            if config.mode == "offline":
                self._unsent = Path(session.dir).parent
            while (record := self._queue.get()) is not None:
                values = dict(record)
                session.log(values, step=values.pop("step"))
            session.finish()
        except Exception as error:  # a failure of the mirror must not stop the run
            print(f"moefacts: W&B stopped mirroring ({error}); metrics still go to the file", file=sys.stderr)

    def log(self, record: dict[str, Any]) -> None:
        self._queue.put(record)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(self._SECONDS_TO_FINISH)
        if self._unsent is not None:
            here = Path.cwd()
            folder = self._unsent.relative_to(here) if self._unsent.is_relative_to(here) else self._unsent
            print(f"kept for W&B; to send it: {shlex.join(['wandb', 'sync', str(folder)])}", file=sys.stderr)


class NoSink:
    """Discards records: for a run without a mirror, and for processes other than the main one."""

    def log(self, record: dict[str, Any]) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


def id_of_mirror(config: WandbConfig, stored: object) -> str | None:
    """The id under which W&B keeps the run: the ``stored`` one if it is one, so that a resumed run stays one run.

    Returns:
        None when there is no mirror, so that a stored id is kept for later.
    """
    if config.mode == "disabled":
        return None
    return stored if isinstance(stored, str) and re.fullmatch(r"[a-z0-9]{8,64}", stored) else secrets.token_hex(8)


def open_mirror(config: WandbConfig, run: Path, settings: dict[str, Any], run_id: str | None) -> Sink:
    """The mirror that ``config`` asks for, under ``run_id``; only the main process gets one."""
    return NoSink() if run_id is None or not is_main() else WandbMirror(config, run, settings, run_id)


def open_record(run: Path) -> "MetricsFile | NoSink":
    """The metrics file of ``run``, open for appending; only the main process writes to it."""
    return MetricsFile(run) if is_main() else NoSink()
