"""Turns SIGINT and SIGTERM into a request that the loop honours between two steps."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop. No ``Exception``, so that a sweep of several runs stops.

    ``step`` is where the run's state is saved; None: nothing was under way that is worth saving.
    """

    def __init__(self, signal_number: int, step: int | None):
        super().__init__(signal_number, step)
        self.signal_number, self.step = signal_number, step

    def __str__(self) -> str:
        if self.step is None:
            return "interrupted before anything was started"
        return f"interrupted at step {self.step}, which is saved; the same command goes on from there"

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended."""
        return 128 + self.signal_number


class StopRequest:
    """Use as a context manager; ``signal_number`` is the first signal that came, or None.

    A second signal of the same kind acts as it would without us, so that a hung run can still be stopped.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.signal_number = number
        signal.signal(number, self._previous[number])

    def __exit__(self, _type: type | None, _value: BaseException | None, _traceback: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
