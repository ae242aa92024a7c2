"""``moefacts generate``."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from moefacts.cli.completion import Overrides
from moefacts.cli.folders import as_new_folder
from moefacts.cli.next_step import say_next
from moefacts.errors import UserError

_MOST_PRINTED = 10_000  # who wants more wants a dataset


def generate(
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(parser=as_new_folder, metavar="FOLDER", help="Folder to write the dataset to.")
    ] = None,
    preview: Annotated[
        int, typer.Option(min=0, max=_MOST_PRINTED, help="Print this many biographies with highlighted facts.")
    ] = 0,
) -> None:
    """Write a population and its biographies as a Hugging Face dataset folder (Parquet files and a card).

    Arguments are Hydra overrides:  moefacts generate population.size=2048 dataset.train=100000 --out datasets/bios
    """
    from moefacts.cli.hydra_bridge import parse_arguments, run_with_hydra

    arguments = overrides or []
    if parse_arguments("moefacts generate", arguments).multirun:
        raise UserError("-m would write several datasets to one --out; run moefacts generate once for each")

    def task(config) -> None:
        if out is None and preview == 0:
            raise UserError("nothing to do; give --out FOLDER to write a dataset, or --preview 3 to print biographies")
        if preview:
            _print_preview(config, preview)
        if out is None:
            say_next("generate", *arguments, "--out", "datasets/biographies")
        else:
            _write(config, out)
            say_next("train", *(one for one in arguments if not one.lstrip("+").startswith("dataset.")))

    run_with_hydra("moefacts generate", arguments, task)


def _write(config, out: Path) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from moefacts.config.presets import overrides_of
    from moefacts.experiments.tasks.dataset import generate_dataset
    from moefacts.training.interrupt import StopRequest

    overrides = overrides_of(config) or ["…"]  # no overrides express settings from the user's own files
    command = shlex.join(["moefacts", "generate", *overrides, "--out", str(out)])
    rows = config.dataset.train + config.dataset.validation + config.dataset.unseen
    console = Console(stderr=True, markup=False)
    # Stop only between two blocks: an exception inside a library's callback can be lost, and writing would go on.
    with StopRequest() as stop, Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("biographies", total=rows)

        def advance(written: int) -> None:
            progress.advance(task, written)
            if stop.signal_number is not None:
                raise typer.Exit(128 + stop.signal_number)

        population = generate_dataset(config, out, command, advance)
    typer.echo(
        f"{out}: {rows:,} biographies, {len(population):,} people, no-knowledge baseline "
        f"{population.no_knowledge_baseline:.4f} nats, fingerprint {population.fingerprint[:16]}"
    )


def _print_preview(config, count: int) -> None:
    from rich.text import Text

    from moefacts.cli.output import console
    from moefacts.experiments.tasks.dataset import preview

    name_style, value_style = "bold cyan", "bold yellow"
    styles = {"FIRST_NAME": name_style, "MIDDLE_NAME": name_style, "LAST_NAME": name_style, "FIRST_VALUE": value_style}
    screen = console()
    for _, pieces in preview(config, count):
        line = Text()
        for text, role in pieces:
            line.append(text if line.plain else text.lstrip(), style=styles.get(role, ""))
        screen.print(line, "\n", highlight=False, sep="", soft_wrap=True)
