"""``moefacts train``."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moefacts.cli.completion import Overrides, complete_runs
from moefacts.cli.folders import as_folder
from moefacts.cli.next_step import say_next
from moefacts.errors import UserError

if TYPE_CHECKING:
    from moefacts.config.schema import RunConfig

_MOST_NAMED = 4  # runs of a sweep; of more, the folder is named in which they are
_HYDRA_WRITES_NOTHING = [
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.run.dir=.",
]


def train(
    overrides: Overrides = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            parser=as_folder, metavar="RUN", help="Resume the run in this directory.", autocompletion=complete_runs
        ),
    ] = None,
) -> None:
    """Train one run, or several with -m.

    Arguments are Hydra overrides:  moefacts train population.size=2048 seed=1

    -m, --multirun:  several runs, side by side with  moefacts train -m seed=0,1,2 hydra/launcher=joblib

    --cfg job:  show all settings and train nothing        --hydra-help:  all of Hydra's options

    -cd, --config-dir FOLDER:  also look for YAML there:  moefacts train -cd examples/conf +experiment=first_look

    Presets:  scale=NAME, model=NAME; moefacts list shows the names

    Settings:  seed, device, threads, parallel, tokenizer, and the groups population, sampling, training, evaluation,
    checkpoints, dataset, patching, init, method, uncertainty, wandb, run, model

    One run on several devices:  torchrun --nproc-per-node 2 -m moefacts train population.size=2048

    A run that was stopped is resumed; a finished one is left alone.

    With a constant learning rate, a run can be made longer:  moefacts train --resume RUN training.steps=2000

    What a resumed run sends to Weights & Biases follows from the command alone:  --resume RUN wandb.mode=online
    """
    from moefacts.config.loader import load_config

    with one_line_when_interrupted():
        if resume is None:
            train_with_hydra("moefacts train", overrides or [], load_config)
        else:
            _resume(resume, overrides or [])


@contextmanager
def one_line_when_interrupted() -> Iterator[None]:
    """A context for training, in this process or as one of several."""
    from moefacts.training.distributed import process_group
    from moefacts.training.interrupt import Interrupted

    try:
        with process_group():
            yield
    except Interrupted as interrupted:
        typer.echo(f"moefacts: {interrupted}", err=True)
        raise typer.Exit(interrupted.exit_code) from None


def train_with_hydra(
    program: str, arguments: list[str], load: Callable[[Any], "RunConfig"], base: Sequence[str] = ()
) -> None:
    """Train the runs that ``arguments`` describe, after ``base``; ``load`` converts what Hydra composes of them."""
    from moefacts.cli.hydra_bridge import run_with_hydra
    from moefacts.training.distributed import is_main

    runs = _check_every_job(program, arguments, load, base) if is_main() else []

    def train_one(config: "RunConfig") -> None:
        run = _train_one(config)
        runs.extend([run] * (run not in runs))

    run_with_hydra(program, arguments if is_main() else _writing_nothing(arguments), train_one, load, base)
    if runs and is_main():
        say_next("analyze", *folders_of(runs))


def folders_of(runs: Sequence[Path]) -> list[Path]:
    """The folders that say shortest which runs these are: their common one, if they are many."""
    parents = {run.parent for run in runs}
    return list(parents if len(runs) > _MOST_NAMED and len(parents) == 1 else runs)


def _resume(resume: Path, arguments: list[str]) -> None:
    from moefacts.config.loader import read_config
    from moefacts.config.presets import compose
    from moefacts.runs import layout
    from moefacts.runs.extension import extended
    from moefacts.training.distributed import is_main

    if not resume.is_dir():
        raise UserError(f"there is no run directory {resume}")
    network = [argument for argument in arguments if argument.startswith("wandb.")]
    rest = [argument for argument in arguments if argument not in network]
    stored = read_config(resume / layout.CONFIG)
    config = extended(stored, rest) if rest else stored
    config.run.dir = str(resume)
    if config.init.is_on and 0 not in layout.checkpoint_steps(resume):  # a stored config leads to no other folder
        raise UserError(f"{resume} has no checkpoint yet; start it again with moefacts finetune, as the first time")
    tracking = config.wandb  # a stored config must not decide who is told
    config.wandb = compose(network).wandb
    if tracking.mode not in ("disabled", config.wandb.mode) and is_main():
        note = f"not mirrored to W&B; add wandb.mode={tracking.mode} to the command if it should be"
        typer.echo(f"{resume}: {note}", err=True)
    run = _train_one(config, extend=bool(rest))
    if is_main():
        say_next("analyze", run)


def _check_every_job(
    program: str, arguments: list[str], load: Callable[[Any], "RunConfig"], base: Sequence[str]
) -> list[Path]:
    """Compose and check all runs of a sweep, so that a wrong value is found before any of them trains.

    Returns:
        Their directories; none if it is no sweep, or if its sweeper chooses values by the results of runs.
    """
    from moefacts.cli.hydra_bridge import parse_arguments, run_with_hydra
    from moefacts.config.presets import explain
    from moefacts.runs.location import run_directory

    if not parse_arguments(program, arguments).multirun or any(a.startswith("hydra/sweeper") for a in arguments):
        return []
    where = ("hydra/launcher", "hydra.launcher", "hydra.sweep")
    kept = [a for a in arguments if not a.lstrip("+~").startswith(where)]
    wrong: list[UserError] = []
    runs: list[Path] = []

    def check(values: Any) -> None:
        try:
            runs.append(run_directory(load(values)))
        except UserError as error:
            wrong.append(error)

    with tempfile.TemporaryDirectory() as folder:
        settings = [*_writing_nothing(kept), f"hydra.sweep.dir={folder}"]
        try:
            run_with_hydra(program, settings, lambda _: None, check, base)
        except (ValueError, TypeError, AttributeError) as error:  # no job does anything here
            raise explain(error, arguments) from None
    if wrong:
        raise wrong[0]
    return list(dict.fromkeys(runs))


def _writing_nothing(arguments: list[str]) -> list[str]:
    """The same arguments, with settings that stop Hydra from writing files."""
    replaced = {override.partition("=")[0] for override in _HYDRA_WRITES_NOTHING}
    return [a for a in arguments if a.partition("=")[0] not in replaced] + _HYDRA_WRITES_NOTHING


def _train_one(config: "RunConfig", extend: bool = False) -> Path:
    from moefacts.experiments.tasks.train import execute
    from moefacts.training.distributed import is_main

    run = execute(config, extend)
    if is_main():
        typer.echo(run)
    return run
