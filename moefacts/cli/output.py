"""What commands print: to a console that reads no text as markup, in any encoding, and as JSON that is JSON."""

import io
import json
import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_A_PIPE = 1 << 14  # more than any table is wide, so that nothing is cut or folded for other programs


def console() -> "Console":
    """A console on standard output: as wide as the terminal, or wide enough for every table in a file or pipe.

    No text is markup: names and values are the user's. What should look different is a ``rich.text.Text``.
    """
    from rich.console import Console

    here = Console(markup=False, emoji=False)
    return here if here.is_terminal else Console(markup=False, emoji=False, width=_WIDTH_OF_A_PIPE)


def survive_any_encoding() -> None:
    """Let characters that the encoding of the output lacks appear as escapes, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def json_text(value: Any) -> str:
    """``value`` as JSON, which has no NaN and no infinity: both become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
