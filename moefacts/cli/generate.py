"""``moefacts generate``."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from moefacts.errors import UserError


def generate(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder to write the dataset to.")] = None,
    preview: Annotated[int, typer.Option(help="Print this many biographies, names and values highlighted.")] = 0,
) -> None:
    """Write a population and its biographies as a Hugging Face dataset folder (Parquet and a card).

    Arguments are Hydra overrides: moefacts generate population.size=2048 dataset.train=100000 --out datasets/bios
    """
    from moefacts.experiments.dataset import generate_dataset
    from moefacts.presets import compose, overrides_of

    if out is None and preview < 1:
        raise UserError(
            "nothing to do: give --out FOLDER to write a dataset, or --preview 3 to look at some biographies"
        )
    config = compose(context.args)
    if preview > 0:
        _print_preview(config, preview)
    if out is None:
        return
    from rich.console import Console
    from rich.progress import Progress

    command = shlex.join(["moefacts", "generate", *overrides_of(config), "--out", str(out)])
    rows = config.dataset.train + config.dataset.validation + config.dataset.unseen
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("biographies", total=rows)
        population = generate_dataset(config, out, command, lambda written: progress.advance(task, written))
    typer.echo(
        f"{out}: {rows:,} biographies, {len(population):,} people, no-knowledge baseline "
        f"{population.no_knowledge_baseline:.4f} nats, fingerprint {population.fingerprint[:16]}"
    )


def _print_preview(config, count: int) -> None:
    from rich.text import Text

    from moefacts.cli.output import console
    from moefacts.experiments.dataset import preview

    styles = {
        "FIRST_NAME": "bold cyan",
        "MIDDLE_NAME": "bold cyan",
        "LAST_NAME": "bold cyan",
        "FIRST_VALUE": "bold yellow",
    }
    screen = console()
    for _, pieces in preview(config, count):
        line = Text()
        for text, role in pieces:
            line.append(text if line.plain else text.lstrip(), style=styles.get(role, ""))
        screen.print(line, "\n", highlight=False, sep="", soft_wrap=True)
