"""Errors that a user can fix. They are shown as one line, with exit code 2 and no traceback."""

import difflib
import errno
from collections.abc import Iterable

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """The input is at fault, not the program. The message says what is wrong and what would be right."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """A hint that names the choices most like ``word``, or the first twenty choices when none is close."""
    names = sorted(set(choices))
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known: " + ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Raise ``UserError`` unless ``value`` is one of ``choices``."""
    choices = list(choices)
    if value not in choices:
        shown = f"{key} {value}" if key.startswith("--") else f"{key}={value}"
        raise UserError(f"{shown} is not a valid value; {nearest(value, choices)}")


def check_at_least(key: str, value: float | None, least: float) -> None:
    """Raise ``UserError`` when ``value`` is given and below ``least``."""
    if value is not None and not value >= least:
        raise UserError(f"{key}={value} is too small; it must be at least {least}")


def is_full_disk(error: BaseException) -> bool:
    """Whether ``error`` says that a device, a quota or a limit leaves no space to write."""
    return isinstance(error, OSError) and error.errno in _FULL_DISK
