"""Locks between processes: who trains in a run, and whose turn it is to write what is made from runs."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from moefacts.errors import UserError, is_full_disk
from moefacts.runs import layout

_SECONDS_TO_LOOK = 0.5  # who only looks whether a run is being trained holds its lock for less
_HAS_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class BeingTrained(UserError):
    """Another process trains in the run."""


def lock_run(run: Path) -> FileLock:
    """Take the lock of a run, which no other process gets before it is released.

    Raises:
        BeingTrained: another process trains in the run.
        UserError: its file system has no locks.
    """
    lock = FileLock(run / layout.LOCK, timeout=_SECONDS_TO_LOOK)
    try:
        lock.acquire()
    except Timeout:
        raise BeingTrained(f"{run} is being trained by another process; wait for it or stop it") from None
    except OSError as error:
        raise _explained(error, run / layout.LOCK) from None
    return lock


def is_being_trained(run: Path) -> bool:
    """Whether a process holds the lock of a run.

    Raises:
        UserError: this cannot be known, because the file system has no locks, or because of the lock's file.
    """
    try:
        with FileLock(run / layout.LOCK, blocking=False):
            return False
    except Timeout:
        return True
    except OSError as error:
        raise _explained(error, run / layout.LOCK) from None


@contextmanager
def turn_to_write(folder: Path) -> Iterator[None]:
    """A context in which no other process that waits for its turn writes into ``folder``; it is made if need be.

    Where there are no locks, several may write at once. Each of their files is whole even then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / layout.WRITING_LOCK)
    with suppress(OSError):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(f"moefacts: waiting for another process, which writes into {folder}", file=sys.stderr)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _explained(error: OSError, path: Path) -> Exception:
    if is_full_disk(error):
        return error
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _HAS_NO_LOCKS:
        return UserError(
            f"{path} cannot be locked ({reason}): its file system has no locks, as NFS often has none; keep runs on "
            "another one with run.root=FOLDER (reproduce: --out FOLDER), or mount it with locks"
        )
    return UserError(f"{path} cannot be locked ({reason}); it must be a file that you may write")
