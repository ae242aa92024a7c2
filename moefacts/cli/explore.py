"""``moefacts explore``."""

from pathlib import Path
from typing import Annotated

import typer

from moefacts.cli.completion import complete_runs
from moefacts.errors import UserError


def explore(
    run: Annotated[Path, typer.Argument(help="Run directory.", autocompletion=complete_runs)],
    people: Annotated[
        int | None,
        typer.Option(min=1, help="Show this many people of each cohort (default: 12; with --name, only those named)."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help='Show this person first: "First Middle Last". Can be repeated.')
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            help="Show the checkpoints of these steps, such as 0,500,2000 (default: at most 12, spread evenly in the "
            "logarithm of the step, with the plateau's start and end)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Page to write (default: explore.html in the run).")
    ] = None,
) -> None:
    """Write a page that shows what a model says, and where it looks, person by person and checkpoint by checkpoint."""
    chosen = None if steps is None else _numbers(steps)
    from moefacts.experiments.tasks.explore import explore_run

    found = explore_run(run, None if out is None else out.expanduser(), people, name or (), chosen)
    people_in_it = "1 person" if found.num_people == 1 else f"{found.num_people} people"
    checkpoints = "1 checkpoint" if len(found.steps) == 1 else f"{len(found.steps)} checkpoints"
    typer.echo(f"page: {found.path} ({people_in_it} at {checkpoints}, {found.num_bytes / 1e6:.2f} MB)")
    typer.echo("open it in a browser, choose a person, and move the slider to see when each fact is learned")


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--steps '{text}' must be whole numbers with commas between them, such as 0,500,2000")
    return [int(part) for part in parts]
