"""The console that commands print to."""

from rich.console import Console

_WIDTH_OF_A_PIPE = 240


def console() -> Console:
    """A console on standard output: as wide as the terminal, or wide enough for whole tables in a file or pipe."""
    here = Console()
    return here if here.is_terminal else Console(width=_WIDTH_OF_A_PIPE)
