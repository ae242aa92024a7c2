"""Tables with many columns, in parts that fit the terminal."""

from collections.abc import Sequence

_LEAST, _MOST, _GAP = 10, 18, 2  # characters of a column that is planned, and between two columns


def print_in_parts(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; where it is too wide, as several below one another, each with the first column.

    No part is cut. Where the first and any other column are too wide together, text is folded.
    """
    from rich.table import Table

    from moefacts.cli.output import console

    screen = console()
    for part in _parts(screen.width, header, rows):
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(header[0], no_wrap=True)
        for column in part:
            table.add_column(header[column], overflow="fold")
        for row in rows:
            table.add_row(row[0], *(row[column] for column in part))
        screen.print(table)
        if part[-1] < len(header) - 1:
            screen.print()


def _parts(width: int, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[int]]:
    """The columns of each part, beside the first."""
    planned = [
        min(max(_LEAST, *map(len, cells), *map(len, name.split())), _MOST)
        for name, *cells in zip(header, *rows, strict=True)
    ]
    left = width - max(map(len, [header[0], *(row[0] for row in rows)]))
    parts: list[list[int]] = [[]]
    used = 0
    for column in range(1, len(header)):
        needed = planned[column] + _GAP
        if parts[-1] and used + needed > left:
            parts.append([])
            used = 0
        parts[-1].append(column)
        used += needed
    return parts
