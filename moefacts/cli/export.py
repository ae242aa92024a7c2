"""``moefacts export``."""

from pathlib import Path
from typing import Annotated

import typer

from moefacts.cli.completion import complete_runs
from moefacts.cli.folders import as_new_folder


def export(
    run: Annotated[Path, typer.Argument(help="Run directory.", autocompletion=complete_runs)],
    out: Annotated[Path, typer.Option(parser=as_new_folder, metavar="FOLDER", help="Folder to write to.")],
    step: Annotated[int | None, typer.Option(help="Export the checkpoint of this step (default: the last).")] = None,
) -> None:
    """Write a trained model and its tokenizer as a folder that transformers' AutoModelForCausalLM loads."""
    from moefacts.experiments.tasks.export import export_run

    architecture = export_run(run, out, step)
    typer.echo(f"{out}: {architecture}")
