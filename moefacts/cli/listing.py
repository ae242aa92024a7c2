"""``moefacts list``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moefacts.cli.folders import as_folder

if TYPE_CHECKING:
    from moefacts.runs.listing import ListedRun


def list_everything(
    root: Annotated[Path, typer.Option(parser=as_folder, metavar="FOLDER", help="Folder that holds the runs.")] = Path(
        "runs"
    ),
) -> None:
    """List the presets, the studies, and the runs with their state."""
    from rich.table import Table
    from rich.text import Text

    from moefacts.cli.output import console
    from moefacts.config.overrides import GROUPS
    from moefacts.config.presets import preset_names
    from moefacts.experiments.studies.catalog import STUDIES
    from moefacts.runs.listing import listed_runs

    screen = console()
    for group in GROUPS:
        presets = "  ".join(f"{group}={name}" for name in preset_names(group))
        screen.print(Text.assemble((group, "bold"), f"  {presets}"))
    studies = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("study", "in the paper", "what it is about"):
        studies.add_column(column, overflow="fold")
    for study in STUDIES.values():
        studies.add_row(study.name, study.figure, study.title)
    screen.print()
    screen.print(studies)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "state", "step", "people", "model", "seed", ""):
        table.add_column(column, overflow="fold")
    runs = list(listed_runs(root))
    for run in runs:
        table.add_row(str(run.path), *_cells(run))
    screen.print()
    screen.print(table if runs else f"no runs below {root}/")


def _cells(run: "ListedRun") -> tuple[str, ...]:
    if run.steps is None or run.people is None:
        return (run.state, "", "", "", "", run.note)
    return (run.state, f"{run.step}/{run.steps}", f"{run.people:,}", run.model, str(run.seed), run.note)
