"""The progress display of a run, on stderr: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from moefacts.training.distributed import is_main

_SECONDS_BETWEEN_PLAIN_LINES = 10.0


@dataclass
class Status:
    """The newest numbers of a run."""

    step: int = 0
    loss: float | None = None
    attribute_loss: float | None = None
    accuracy: float = 0.0
    phase: str = "start"
    tokens_per_second: float = 0.0

    def text(self, baseline: float) -> str:
        """The numbers in one line, with the attribute loss as "loss/no-knowledge baseline"."""
        parts = []
        if self.attribute_loss is not None:
            known = f"{100 * self.accuracy:.1f}% known"
            parts = [f"attribute loss {self.attribute_loss:.3f}/{baseline:.3f}", known]
        parts.append(self.phase)
        if self.loss is not None:
            parts += [f"loss {self.loss:.3f}", f"{self.tokens_per_second:,.0f} tok/s"]
        return "  ".join(parts)


class ProgressDisplay:
    """Shows the progress of a run; a context manager whose ``show`` may be called at every step."""

    def __init__(self, name: str, steps: int, baseline: float):
        self._name, self._steps, self._baseline = name, steps, baseline
        self._is_heard = is_main()
        self._console = Console(stderr=True, markup=False, emoji=False)  # a run's name is the user's
        self._live: Progress | None = None
        self._last_line = 0.0
        self._started_at: tuple[float, int] | None = None

    def __enter__(self) -> "ProgressDisplay":
        if self._is_heard and self._console.is_terminal:
            columns = (
                TextColumn("{task.completed}/{task.total}", table_column=Column(no_wrap=True, min_width=9)),
                BarColumn(bar_width=8),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[status]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            )
            self._console.print(self._name)
            self._live = Progress(*columns, console=self._console, expand=True)
            self._task = self._live.add_task("", total=self._steps, status="")
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, status: Status, force: bool = False) -> None:
        """Update the live line, or print a plain line if enough time has passed since the last or ``force`` is set."""
        if not self._is_heard:
            return
        if self._live is not None:
            self._live.update(self._task, completed=status.step, status=status.text(self._baseline))
            return
        now = time.monotonic()
        if self._started_at is None:
            self._started_at = now, status.step
        if not force and now - self._last_line < _SECONDS_BETWEEN_PLAIN_LINES:
            return
        self._last_line = now
        left = self._seconds_left(now, status.step)
        line = f"{self._name}  step {status.step}/{self._steps}  {status.text(self._baseline)}  {left}"
        print(line, file=sys.stderr, flush=True)

    def _seconds_left(self, now: float, step: int) -> str:
        assert self._started_at is not None
        started, first = self._started_at
        if step <= first:
            return ""
        seconds = (now - started) / (step - first) * (self._steps - step)
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"
