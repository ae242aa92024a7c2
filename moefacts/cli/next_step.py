"""What a command says at its end: which command comes next."""

import shlex
from pathlib import Path

import typer


def say_next(*words: str | Path) -> None:
    """Name the next command in one line that can be pasted, on standard error: standard output holds results only."""
    typer.echo(f"next: {shlex.join(['moefacts', *map(str, words)])}", err=True)
