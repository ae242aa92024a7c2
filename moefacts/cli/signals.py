"""Handle signals to stop while several runs train in their own processes, so that each saves its state first."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from moefacts.runs import layout
from moefacts.training.interrupt import Interrupted, stop_signals

_SECONDS_TO_SAVE, _SECONDS_BETWEEN_LOOKS = 60, 0.2


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
        end_workers(psutil.Process().children(recursive=True))
        raise _StoppedWorkers(number, 0)

    previous = {number: signal.signal(number, receive) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_workers(workers: Sequence[psutil.Process]) -> None:
    """Ask processes to end, and wait, at most a minute, until none of them trains.

    A run saves and gives its lock back. Whoever holds no lock is asked again, because a worker whose run has ended may
    take up the next one; trackers, which ignore such requests, are not waited for.
    """
    saving: list[psutil.Process] = []
    for _ in range(round(_SECONDS_TO_SAVE / _SECONDS_BETWEEN_LOOKS)):
        for worker in workers:
            if worker not in saving:
                with suppress(psutil.Error):  # it has ended
                    worker.terminate()
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        workers = psutil.wait_procs(workers, timeout=0)[1]
        saving = [worker for worker in workers if _trains(worker)]
        if not saving:
            return


def _trains(worker: psutil.Process) -> bool:
    try:
        return any(Path(file.path).name == layout.LOCK for file in worker.open_files())
    except psutil.Error:  # it has ended
        return False
