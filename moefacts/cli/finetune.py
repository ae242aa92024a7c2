"""``moefacts finetune``."""

from pathlib import Path
from typing import Annotated

import typer

from moefacts.cli.completion import Overrides, complete_runs
from moefacts.cli.folders import as_folder
from moefacts.cli.train import one_line_when_interrupted, train_with_hydra
from moefacts.errors import UserError


def finetune(
    run: Annotated[
        Path,
        typer.Argument(parser=as_folder, metavar="RUN", help="The run to start from.", autocompletion=complete_runs),
    ],
    overrides: Overrides = None,
    step: Annotated[
        int | None, typer.Option(help="Start from the checkpoint of this step (default: the last).")
    ] = None,
    new: Annotated[
        int | None, typer.Option("--new", metavar="N", help="Learn the first N new people (default: all).")
    ] = None,
) -> None:
    """Train a run on from its weights, on people that it does not know, and watch what becomes of those it knows.

    Arguments are Hydra overrides of RUN's settings:  moefacts finetune RUN training.steps=500

    Unless overridden: the new people, a constant rate of RUN's over 13.3, fresh optimizer state, evaluation of all
    cohorts at steps 0, 1, 2, 5, 10, 20 and so on.

    Several runs:  moefacts finetune RUN -m training.learning_rate=1e-4,3e-4

    The same command resumes a run that was stopped, and so does  moefacts train --resume
    """
    from moefacts.config.preset_files import GROUPS
    from moefacts.experiments.tasks.finetuning import complete, finetuning_overrides

    for argument in overrides or []:
        if (group := argument.lstrip("+~").partition("=")[0]) in GROUPS:
            raise UserError(f"{argument}: fine-tuning keeps the {group} of the run that it starts from; leave it out")
    with one_line_when_interrupted():
        base = finetuning_overrides(run, step, new)
        train_with_hydra("moefacts finetune", overrides or [], complete, base)
