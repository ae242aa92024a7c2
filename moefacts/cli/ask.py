"""``moefacts ask``."""

from pathlib import Path
from typing import Annotated

import typer

_NOBODY = "is not in the population; everything the model says is made up"


def ask(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    names: Annotated[list[str], typer.Argument(help='Full names, each in quotes: "First Middle Last".')],
    top: Annotated[int, typer.Option(min=1, help="Number of answers to show.")] = 3,
    step: Annotated[int | None, typer.Option(help="Ask the checkpoint of this step (default: the last).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a trained model about people: top answers, probabilities, the truth, and whether the model saw them."""
    from moefacts.experiments.tasks.materials import load_run
    from moefacts.probes.ask import ask as ask_model
    from moefacts.probes.ask import check_name

    _, materials = load_run(run, step)
    population = materials.batcher.population
    trained_on = [population.cohort(cohort) for cohort in materials.batcher.cohorts]
    for name in names:
        check_name(name, materials.batcher)
    replies = []
    for name in names:
        individual = population.find(name)
        cohort = None if individual is None else population.cohort_of(individual)
        answers = list(ask_model(materials.model, materials.batcher, name, top))
        if as_json:
            replies.append({"name": name, "cohort": cohort, "answers": {a.attribute: vars(a) for a in answers}})
        else:
            _print_answers(
                f"{name} {_status(cohort, any(individual in people for people in trained_on))}", answers, top
            )
    if as_json:
        from moefacts.cli.output import json_text

        typer.echo(json_text(replies))


def _status(cohort: str | None, is_trained_on: bool) -> str:
    """What the model can know about a person, in words."""
    from moefacts.runs.keys import NEW

    if cohort is None:
        return _NOBODY
    if is_trained_on:
        return "was seen in training"
    if cohort == NEW:
        return "exists in the population but is kept for fine-tuning; it was not seen in training"
    return "exists in the population but was never seen in training"


def _print_answers(title: str, answers, top: int) -> None:
    from rich.table import Table

    from moefacts.cli.output import console

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", title_style="bold")
    table.add_column("attribute", no_wrap=True)
    table.add_column("the model's top answers" if top > 1 else "the model's answer")
    if answers[0].truth is not None:
        table.add_column("truth")
    for answer in answers:
        said = ", ".join(f"{value} {100 * probability:.1f}%" for value, probability in answer.answers)
        row = [answer.attribute.replace("_", " "), said]
        if answer.truth is not None:
            row.append(f"{answer.truth} {'✓' if answer.answers[0][0] == answer.truth else '✗'}")
        table.add_row(*row)
    console().print(table, "")
