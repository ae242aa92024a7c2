"""``moefacts train``."""

from pathlib import Path
from typing import Annotated

import typer

from moefacts.errors import UserError


def train(
    context: typer.Context,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run directory.")] = None,
) -> None:
    """Train one run, or with -m several.

    Arguments are Hydra overrides:  moefacts train population.size=2048 seed=1

    Several side by side:  moefacts train -m seed=0,1,2 hydra/launcher=joblib

    All settings:  moefacts train --cfg job        Hydra's own options:  moefacts train --hydra-help

    A run that was stopped goes on where it was; a finished one is left alone.
    """
    from moefacts.experiments.run import execute
    from moefacts.training.interrupt import Interrupted

    try:
        if resume is None:
            from moefacts.cli.hydra_bridge import run_with_hydra

            run_with_hydra("moefacts train", context.args, _train_one)
        else:
            if context.args:
                raise UserError(f"--resume goes on with the run's own configuration; drop {' '.join(context.args)}")
            from moefacts import run_files
            from moefacts.config import read_config

            if not resume.is_dir():
                raise UserError(f"there is no run directory {resume}")
            config = read_config(resume / run_files.CONFIG)
            config.run.dir = str(resume)
            typer.echo(execute(config))
    except Interrupted as interrupted:
        typer.echo(f"moefacts: {interrupted}", err=True)
        raise typer.Exit(interrupted.exit_code) from None


def _train_one(config) -> None:
    from moefacts.experiments.run import execute

    typer.echo(execute(config))
