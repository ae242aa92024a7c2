"""Write files and folders so that they appear whole or not at all, whoever else writes or is killed."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moefacts.errors import UserError
from moefacts.runs.temporary import is_being_written, temporary_beside

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


class FolderTaken(UserError):
    """The folder is there already, or another process is writing it."""


def write_durably(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write a file so that it holds either the old content or all of the new, even after a crash.

    Of several processes that write the file at once, the last to end replaces what the others wrote.

    Args:
        path: the file.
        content: its bytes, or a function that writes them to the path that it receives.
    """
    with temporary_beside(path) as temporary:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(folder: Path, refuse_others: bool = True) -> Iterator[Path]:
    """Yield a temporary folder of this process alone; rename it to ``folder`` at the end, or remove it on failure.

    Args:
        folder: the folder.
        refuse_others: whether to refuse at once when another process is writing it. Otherwise both go on.

    Raises:
        UserError: ``folder`` has no name of its own.
        FolderTaken: it exists and is not an empty folder, or another process is writing it, or was faster. What is
            there is left alone.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderTaken(f"{folder} exists and is not an empty folder; give another --out")
    if folder.name in ("", ".."):
        raise UserError(f"{folder} is a folder in use; give --out the name of a new one")
    target = folder.resolve()  # the end of a link, which cannot itself be replaced
    if refuse_others and is_being_written(target):
        raise FolderTaken(f"{folder} is being written by another process; wait for it, or give another --out")
    with temporary_beside(target) as temporary:
        temporary.mkdir(parents=True)
        yield temporary
        try:
            temporary.rename(target)  # which replaces an empty folder, and no other
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            raise FolderTaken(f"{folder} was written by another process meanwhile; give another --out") from None
        sync_folder(target.parent)
