"""Turn signals to stop into a request, which the loop honours between two steps or two batches of an evaluation."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

# Ctrl-C, and what schedulers send before they take a machine away (SLURM: whatever --signal says, often SIGUSR1)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_OF_SCHEDULERS = (signal.SIGUSR1, signal.SIGUSR2)


def stop_signals() -> list[signal.Signals]:
    """The signals to catch: not those of schedulers for which another library, such as submitit, has a handler."""
    return [number for number in STOP_SIGNALS if number not in _OF_SCHEDULERS or not _is_foreign(number)]


def _is_foreign(number: int) -> bool:
    handler = signal.getsignal(number)
    return handler is None or (callable(handler) and not str(getattr(handler, "__module__", "")).startswith("moefacts"))


class Interrupted(KeyboardInterrupt):
    """Raised when a signal asked to stop. It is not an ``Exception``, so that a sweep of several runs stops too.

    ``step`` is the step at which the run's state was saved; None when there was nothing to save.
    """

    def __init__(self, signal_number: int, step: int | None):
        super().__init__(signal_number, step)
        self.signal_number, self.step = signal_number, step

    def __str__(self) -> str:
        if self.step is None:
            return "interrupted before anything was started"
        return f"interrupted at step {self.step}, which is saved; run the same command again to resume from there"

    @property
    def exit_code(self) -> int:
        """The exit code that a shell expects from a process ended by this signal."""
        return 128 + self.signal_number


class StopRequest:
    """A context manager that catches signals; ``signal_number`` is the first one received, or None.

    A second signal of the same kind has its usual effect, so that a hung run can still be stopped.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.signal_number = number
        signal.signal(number, self._previous[number])

    def __exit__(self, _type: type | None, _value: BaseException | None, _traceback: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
