"""Handle signals to stop while several runs train in their own processes, so that each saves its state first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

from moefacts.training.interrupt import Interrupted, stop_signals

_SECONDS_TO_SAVE = 60


class _StoppedWorkers(Interrupted):
    def __str__(self) -> str:
        return "interrupted; run the same command again to go on from what the runs in progress saved"


@contextmanager
def signals_passed_on() -> Iterator[None]:
    """Pass the first signal on to the worker processes, wait until they have saved, then raise ``Interrupted``.

    Without workers (Hydra's basic launcher), the run in this process has its own handler while it trains.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def receive(number: int, _frame: FrameType | None) -> None:
        workers = psutil.Process().children(recursive=True)
        for worker in workers:
            worker.terminate()  # a run saves and ends; other processes (trackers, idle workers) just end
        psutil.wait_procs(workers, timeout=_SECONDS_TO_SAVE)
        raise _StoppedWorkers(number, 0)

    previous = {number: signal.signal(number, receive) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
