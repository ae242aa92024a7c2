"""Temporary files and folders: whose they are, and the removal of those whose process was killed."""

import functools
import hashlib
import itertools
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_NAME = re.compile(r"\.(?P<target>.+)\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)-\d+\.tmp", re.DOTALL)
_SECONDS_UNTIL_ABANDONED = 24 * 3600  # on another host, which cannot be asked whether the process lives
_SECONDS_OF_DOUBT = 60  # clocks of file systems and of the kernel disagree by less

_numbers = itertools.count()
_own: set[str] = set()  # the names of what this process is writing now


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` that no other writer uses, and remove what is there at the end.

    What killed processes left in the same folder is removed first.
    """
    sweep(target.parent)
    path = target.with_name(f".{target.name}.{_this_host()}-{os.getpid()}-{next(_numbers)}.tmp")
    _own.add(path.name)
    try:
        yield path
    finally:
        remove(path)
        _own.discard(path.name)


def is_being_written(target: Path) -> bool:
    """Whether another process, or another thread of this one, has a temporary file or folder for ``target``."""
    return any(
        found["target"] == target.name and not _is_abandoned(path, found) for path, found in _temporaries(target.parent)
    )


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in ``folder`` whose process is gone, and none that is being written.

    Whether a process on another host is gone cannot be known. What it wrote is removed a day after its last change.
    """
    for path, found in list(_temporaries(folder)):
        if _is_abandoned(path, found):
            remove(path)


def sweep_run(folder: Path) -> None:
    """Do the same in a folder that only moefacts writes, and remove what earlier versions left there a day ago."""
    sweep(folder)
    for path in list(folder.glob(".*.tmp")):
        if not _NAME.fullmatch(path.name) and _is_old(path):
            remove(path)


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is half-written, by this version or an earlier one."""
    return name.startswith(".") and name.endswith(".tmp")


def _temporaries(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    with suppress(OSError):  # the folder does not exist yet, or may not be read: then there is nothing to do
        for path in folder.glob(".*.tmp"):
            if found := _NAME.fullmatch(path.name):
                yield path, found


def _is_abandoned(path: Path, found: re.Match[str]) -> bool:
    if found["host"] != _this_host():
        return _is_old(path)
    number = int(found["process"])
    if number == os.getpid():
        return path.name not in _own  # an earlier process had the same number
    try:
        process = psutil.Process(number)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return process.create_time() > _last_change(path) + _SECONDS_OF_DOUBT  # the number was used again
    except (psutil.NoSuchProcess, OverflowError, ValueError):
        return True
    except psutil.AccessDenied:
        return False


def _is_old(path: Path) -> bool:
    return time.time() - _last_change(path) > _SECONDS_UNTIL_ABANDONED


def _last_change(path: Path) -> float:
    """The time of the newest change to a file, or to anything in a folder; now, if it is vanishing."""
    try:
        return max(one.lstat().st_mtime for one in [path, *path.rglob("*")])
    except OSError:
        return time.time()


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there. Another process may be removing it, too."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


@functools.cache
def _this_host() -> str:
    """Eight digits that stand for this machine since it started and, in a container, for its process numbers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
