"""Die before the n-th thing that this process does to files: open for writing, write, fsync, rename, unlink, mkdir.

Python's own writes are those that reach the system, after all buffering. The files of tensors and tables, which
libraries write, count as one write each, which may have ended in the middle.
"""

import builtins
import functools
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from moefacts.training import tensor_files

_CALLS = ("mkdir", "rmdir", "rename", "replace", "unlink", "remove", "fsync", "chmod", "truncate", "ftruncate")
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class _Events:
    """Counts events; before the one whose turn it is, half of what would be written is, and the process is killed."""

    def __init__(self, fatal: int | None, log: Path | None):
        self._fatal, self._log, self._count = fatal, log, 0

    def happens(self, name: str, half: Callable[[], object] = lambda: None) -> None:
        self._count += 1
        if self._log is not None:
            _append(self._log, name)
        if self._count == self._fatal:
            half()
            os.kill(os.getpid(), signal.SIGKILL)


_open, _os_open = io.open, os.open


def _append(log: Path, line: str) -> None:
    with _open(log, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def die_before(number: int) -> None:
    """Make this process die before its event ``number``, counted from 1."""
    _install(_Events(number, None))


def list_events(log: Path) -> None:
    """Make this process write the name of every event into the file ``log``."""
    _install(_Events(None, log))


def _install(events: _Events) -> None:
    for name in _CALLS:
        setattr(os, name, _announced(events, name, getattr(os, name)))
    opened = functools.partial(_opened, events)
    io.open = builtins.open = opened
    os.open = functools.partial(_opened_low, events)
    tensor_files.save_file = _written_by_library(events, "write tensors", tensor_files.save_file, path_at=1)
    pq.write_table = _written_by_library(events, "write table", pq.write_table, path_at=1)
    pq.ParquetWriter.write_table = _announced(events, "write rows", pq.ParquetWriter.write_table)


def _announced(events: _Events, name: str, function: Callable) -> Callable:
    def call(*arguments: Any, **options: Any) -> Any:
        events.happens(name)
        return function(*arguments, **options)

    return call


def _opened_low(events: _Events, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
    if flags & _TO_WRITE:
        events.happens("open")
    return _os_open(path, flags, *arguments, **options)


class _File(io.FileIO):
    """A file whose writes are events."""

    def __init__(self, events: _Events, *arguments: Any, **options: Any):
        events.happens("open")
        super().__init__(*arguments, **options)
        self._events = events

    def write(self, content: Any) -> int:
        half = bytes(content)[: len(content) // 2]
        self._events.happens("write", lambda: os.write(self.fileno(), half))
        return super().write(content)


def _opened(events, file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
    plain = mode.replace("t", "").replace("b", "")
    if isinstance(file, int) or "+" in plain or plain == "r" or buffering == 0:
        return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    buffered = io.BufferedWriter(_File(events, file, plain, closefd, opener))
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)


def _written_by_library(events: _Events, name: str, function: Callable, path_at: int) -> Callable:
    def call(*arguments: Any, **options: Any) -> Any:
        def half() -> None:
            function(*arguments, **options)
            path = Path(arguments[path_at])
            with _open(path, "r+b") as file:
                file.truncate(path.stat().st_size // 2)

        events.happens(name, half)
        return function(*arguments, **options)

    return call
