"""A table of text cells, for the terminal and for pages."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of text cells, for the terminal and for pages."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __post_init__(self) -> None:
        assert all(self.columns), f"a column of “{self.title}” has no name"
