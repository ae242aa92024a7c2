"""Folders and files on the command line."""

from pathlib import Path

from moefacts.errors import UserError


def as_folder(text: str | Path) -> Path:
    """The folder that an option names, or its default, with ``~`` expanded.

    Raises:
        UserError: the name is empty, which a path would take for the working folder.
    """
    return _as_path(text, "folder")


def as_file(text: str | Path) -> Path:
    """The file that an option names, with ``~`` expanded.

    Raises:
        UserError: the name is empty, or that of a folder.
    """
    path = _as_path(text, "file")
    if path.is_dir():
        raise UserError(f"{text} is a folder; give a file")
    return path


def as_new_folder(text: str) -> Path:
    """The same for a folder that appears whole, by being renamed.

    Raises:
        UserError: also for the working folder, which cannot be replaced while somebody is in it.
    """
    path = as_folder(text)
    if path.resolve() == Path.cwd():
        raise UserError(f"--out {text} is the folder you are in; name a new one")
    return path


def _as_path(text: str | Path, what: str) -> Path:
    if not str(text).strip():
        raise UserError(f"a {what} was given as '', which is no name; leave the option out for its default")
    return Path(text).expanduser()
