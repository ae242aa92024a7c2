"""``moefacts sample``."""

from pathlib import Path
from typing import Annotated

import typer

from moefacts.cli.completion import complete_runs


def sample(
    run: Annotated[Path, typer.Argument(help="Run directory.", autocompletion=complete_runs)],
    text: Annotated[str, typer.Argument(help='The beginning of a biography, in quotes: "First Middle Last works".')],
    tokens: Annotated[int, typer.Option(min=1, max=10_000, help="Write this many tokens at most.")] = 20,
    temperature: Annotated[
        float, typer.Option(min=0, help="Draw from the softmax at this temperature; 0 takes the likeliest token.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="Seed of the draws.")] = 0,
    step: Annotated[int | None, typer.Option(help="Take the checkpoint of this step (default: the last).")] = None,
) -> None:
    """Let a trained model continue a text. Its words must be in the run's vocabulary."""
    from moefacts.experiments.tasks.materials import load_run
    from moefacts.probes.continuation import continue_text

    _, materials = load_run(run, step)
    written = continue_text(materials.model, materials.batcher, text, tokens, temperature, seed)
    typer.echo(f"{text.rstrip()}{written}")
