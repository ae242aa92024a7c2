"""``moefacts list``."""

from pathlib import Path
from typing import Annotated

import typer

from moefacts.cli.folders import as_folder


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

    screen = console()
    for group in GROUPS:
        presets = "  ".join(f"{group}={name}" for name in preset_names(group))
        screen.print(Text.assemble((group, "bold"), f"  {presets}"))
    studies = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("study", "in the paper", "what it is about"):
        studies.add_column(column)
    for study in STUDIES.values():
        studies.add_row(study.name, study.figure, study.title)
    screen.print()
    screen.print(studies)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "state", "step", "people", "model", "seed"):
        table.add_column(column, no_wrap=True)
    table.add_column("", overflow="fold")
    folders = sorted(path.parent for path in root.rglob("config.yaml"))
    for run in folders:
        table.add_row(str(run), *_describe(run))
    screen.print()
    screen.print(table if folders else f"no runs below {root}/")


def _describe(run: Path) -> tuple[str, ...]:
    from moefacts.config.loader import read_config
    from moefacts.errors import UserError
    from moefacts.runs import layout
    from moefacts.runs.manifest import current_state, read_manifest, what_was_changed

    try:
        config = read_config(run / layout.CONFIG)
        manifest = read_manifest(run)
    except UserError as error:
        return ("damaged", "", "", "", "", str(error))
    try:
        note = what_was_changed(run, manifest)
        state = "damaged" if note else current_state(run, manifest)
    except UserError as error:
        state, note = "unknown", str(error)
    steps = layout.checkpoint_steps(run)
    return (
        state,
        f"{steps[-1] if steps else 0}/{config.training.steps}",
        f"{config.population.size:,}",
        config.model.preset,
        str(config.seed),
        note,
    )
