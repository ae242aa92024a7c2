"""How commands print."""

from rich.console import Console

_WIDTH_OF_A_PIPE = 240


def console() -> Console:
    """Standard output: as wide as the terminal, and wide enough for whole tables when it goes into a file or pipe."""
    here = Console()
    return here if here.is_terminal else Console(width=_WIDTH_OF_A_PIPE)
