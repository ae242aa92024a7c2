"""Where metrics go: a file that is the record, and optionally Weights & Biases as a mirror."""

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

from moefacts.config.sections import WandbConfig
from moefacts.runs import layout
from moefacts.training.distributed import is_main


class Sink(Protocol):
    """Anything that takes metric records."""

    def log(self, record: dict[str, Any]) -> None:
        """Take one record; it has the key ``step``."""

    def close(self) -> None:
        """Nothing more will come."""


class MetricsFile:
    """Appends one JSON object a line; each line is in the operating system's hands before ``log`` returns."""

    def __init__(self, run: Path):
        self._file = (run / layout.METRICS).open("a", encoding="utf-8")

    def log(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Make what was logged survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class WandbMirror:
    """Sends records to Weights & Biases from a thread of its own: training neither waits for it nor dies of it."""

    _SECONDS_TO_FINISH = 30

    def __init__(self, config: WandbConfig, run: Path, settings: dict[str, Any]):
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(config, run, settings), daemon=True)
        self._thread.start()

    def _work(self, config: WandbConfig, run: Path, settings: dict[str, Any]) -> None:
        try:
            import wandb

            session = wandb.init(
                mode=config.mode,  # type: ignore[arg-type]
                project=config.project,
                entity=config.entity,
                name=run.name,
                dir=run,
                config=settings,
                settings=wandb.Settings(console="off", disable_git=True, x_disable_stats=True, silent=True),
            )
            while (record := self._queue.get()) is not None:
                values = dict(record)
                session.log(values, step=values.pop("step"))
            session.finish()
        except Exception as error:  # whatever the mirror's trouble is, the run goes on without it
            print(f"moefacts: W&B stopped mirroring ({error}); the metrics file goes on", file=sys.stderr)

    def log(self, record: dict[str, Any]) -> None:
        self._queue.put(record)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(self._SECONDS_TO_FINISH)


class NoSink:
    """The mirror of a run that has none, and the record of a process that leaves recording to another."""

    def log(self, record: dict[str, Any]) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


def open_mirror(config: WandbConfig, run: Path, settings: dict[str, Any]) -> Sink:
    """The mirror that ``config`` asks for; of several processes the main one has it."""
    wanted = config.mode != "disabled" and is_main()
    return WandbMirror(config, run, settings) if wanted else NoSink()


def open_record(run: Path) -> "MetricsFile | NoSink":
    """The metrics file of ``run``; of several processes the main one writes it."""
    return MetricsFile(run) if is_main() else NoSink()
