"""Folders of runs on the command line, such as those that ``moefacts reproduce`` and a multirun make."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from moefacts.errors import UserError

if TYPE_CHECKING:
    from moefacts.runs.reader import Run


def is_run(path: Path) -> bool:
    """Whether ``path`` is, or was before it was damaged, a run directory."""
    from moefacts.runs import layout

    return any((path / name).exists() for name in (layout.CONFIG, layout.MANIFEST, layout.METRICS))


def finished_runs(folder: Path, probes: Sequence[str]) -> list["Run"]:
    """The finished runs at or below ``folder``. Any other run is named on standard error, and left out.

    So are those of which the table of one of ``probes`` is damaged.

    Raises:
        UserError: no run is left, or there was none.
    """
    from moefacts.runs.listing import DAMAGED, listed_runs
    from moefacts.runs.manifest import FINISHED
    from moefacts.runs.reader import read_run

    listed, found = list(listed_runs(folder)), []
    if not listed:
        raise UserError(f"{folder} is not a run directory, and none is in it; moefacts list FOLDER shows runs")
    for one in listed:
        try:
            if one.state == FINISHED:
                run = read_run(one.path)
                run.check_tables(*probes)
                found.append(run)
                continue
            reason = f"damaged: {one.note}" if one.state == DAMAGED else f"not finished ({one.state})"
        except UserError as error:
            reason = f"damaged: {error}"
        typer.echo(f"moefacts: {one.path} is left out: it is {reason}", err=True)
    if not found:
        raise UserError(f"none of the {len(listed)} runs in {folder} is finished and whole")
    return found
