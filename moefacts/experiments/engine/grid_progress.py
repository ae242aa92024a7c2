"""The progress display of a grid: runs done, running and left, and the time left.

A separate thread reads it from the run directories, so it works wherever the runs are.
"""

import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from moefacts.errors import UserError
from moefacts.experiments.engine.estimates import Estimate
from moefacts.experiments.engine.grid import Plan, PlannedRun
from moefacts.runs import layout
from moefacts.runs.manifest import FAILED, FINISHED, read_manifest
from moefacts.runs.records import last_step

_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_BETWEEN_PLAIN_LINES = 30.0


@dataclass(frozen=True)
class Snapshot:
    """The progress of a grid; ``share`` is the part of this session's expected time that has passed."""

    done: int
    running: int
    failed: int
    left: int
    share: float

    def text(self, seconds_passed: float) -> str:
        """The progress in one line."""
        parts = [f"runs: {self.done} done", f"{self.running} running", f"{self.left} left"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.share > 0.02:
            parts.append(f"about {clock(seconds_passed * (1 - self.share) / self.share)} to go")
        return ", ".join(parts)


def clock(seconds: float) -> str:
    """A duration as h:mm:ss, or as m:ss below an hour."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class GridProgress:
    """A context manager that shows the progress of a grid while it runs."""

    def __init__(self, plan: Plan, estimate: Estimate):
        self._plan, self._name = plan, plan.study.name
        self._seconds = {run.path: seconds for run, seconds in estimate.seconds}
        self._first_step: dict[Path, int] = {run.path: last_step(run.path) for run, _ in estimate.seconds}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._error_stream = sys.stderr  # a run that trains in this process sends sys.stderr to its log

    def __enter__(self) -> "GridProgress":
        self._started, self._started_clock = time.monotonic(), time.time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        console = Console(file=self._error_stream)
        if not console.is_terminal:
            while not self._stop.wait(_SECONDS_BETWEEN_PLAIN_LINES):
                print(f"{self._name}: {self._text(self.look())}", file=self._error_stream, flush=True)
            return
        columns = (TextColumn(self._name), BarColumn(bar_width=20), TextColumn("{task.fields[status]}"))
        with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as live:
            task = live.add_task("", total=1.0, status="starting")
            while not self._stop.wait(_SECONDS_BETWEEN_LOOKS):
                now = self.look()
                live.update(task, completed=now.share, status=self._text(now))

    def _text(self, now: Snapshot) -> str:
        return now.text(time.monotonic() - self._started)

    def look(self) -> Snapshot:
        """The current progress. This takes no locks, because a run that is about to start may need them."""
        counts = dict.fromkeys(("done", "running", "failed", "left"), 0)
        behind = 0.0
        for run in self._plan.distinct():
            seconds = self._seconds.get(run.path)
            state = self._state(run) if seconds is not None else run.state
            kind = {FINISHED: "done", FAILED: "failed", "running": "running"}.get(state, "left")
            counts[kind] += 1
            if seconds is not None:
                behind += seconds * (
                    1.0 if kind in ("done", "failed") else self._share(run) if kind == "running" else 0
                )
        return Snapshot(**counts, share=behind / max(sum(self._seconds.values()), 1e-9))

    def _state(self, run: PlannedRun) -> str:
        """The state of a run of this session; a manifest from before the session counts as "left"."""
        path = run.path / layout.MANIFEST
        try:
            if path.stat().st_mtime < self._started_clock - 1:
                return "left"
            return str(read_manifest(run.path)["state"])
        except (OSError, UserError):
            return "left"

    def _share(self, run: PlannedRun) -> float:
        first = self._first_step[run.path]
        return min(1.0, (last_step(run.path) - first) / max(run.expected_steps - first, 1))
