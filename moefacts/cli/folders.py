"""Folders on the command line."""

from pathlib import Path

from moefacts.errors import UserError


def as_folder(text: str | Path) -> Path:
    """The folder that an option names, or its default, with ``~`` expanded.

    Raises:
        UserError: the name is empty, which a path would take for the working folder.
    """
    if not str(text).strip():
        raise UserError("a folder was given as '', which is no name; leave the option out for its default")
    return Path(text).expanduser()


def as_new_folder(text: str) -> Path:
    """The same for a folder that appears whole, by being renamed.

    Raises:
        UserError: also for the working folder, which cannot be replaced while somebody is in it.
    """
    path = as_folder(text)
    if path.resolve() == Path.cwd():
        raise UserError(f"--out {text} is the folder you are in; name a new one")
    return path
