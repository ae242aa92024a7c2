"""``moefacts ask``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moefacts.errors import UserError

if TYPE_CHECKING:
    from moefacts.probes.ask import Answer

EXIT_WRONG_NAME = 2
_NOBODY = "is not in the population; everything the model says is made up"


def ask(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    names: Annotated[list[str], typer.Argument(help='Full names, each in quotes: "First Middle Last".')],
    top: Annotated[int, typer.Option(min=1, help="Number of answers to show.")] = 3,
    step: Annotated[int | None, typer.Option(help="Ask the checkpoint of this step (default: the last).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a trained model about people: top answers, probabilities, the truth, and whether the model saw them.

    Of a fine-tuned run it also shows what the model said before.
    """
    from moefacts.experiments.tasks.materials import load_before, load_run
    from moefacts.probes.ask import ask as ask_model
    from moefacts.probes.ask import check_name
    from moefacts.runs.manifest import read_manifest
    from moefacts.synthetic_data.near_names import hint

    config, materials = load_run(run, step)
    population = materials.batcher.population
    trained_on = [population.cohort(cohort) for cohort in materials.batcher.cohorts]
    seen_before = [range(*people) for people in read_manifest(run).get("seen_before", [])]
    before_model = load_before(run, config, materials)
    replies, is_wrong = [], False
    for name in names:
        try:
            check_name(name, materials.batcher)
        except UserError as error:  # the others are answered all the same
            typer.echo(f"moefacts: {error}{hint(population, name)}", err=True)
            is_wrong = True
            continue
        individual = population.find(name)
        if individual is None and (near := hint(population, name)):
            typer.echo(f"moefacts: nobody has the name '{name}'{near}", err=True)
        cohort = None if individual is None else population.cohort_of(individual)
        answers = list(ask_model(materials.model, materials.batcher, name, top))
        before = None if before_model is None else list(ask_model(before_model, materials.batcher, name, 1))
        was_seen = any(individual in people for people in seen_before)
        if as_json:
            reply: dict[str, Any] = {"name": name, "cohort": cohort, "answers": {a.attribute: vars(a) for a in answers}}
            if before is not None:
                reply["seen_before_fine_tuning"] = was_seen
                reply["before_fine_tuning"] = {a.attribute: vars(a) for a in before}
            replies.append(reply)
        else:
            is_trained_on = any(individual in people for people in trained_on)
            status = _status(cohort, is_trained_on, was_seen, config.init.is_on)
            _print_answers(f"{name} {status}", answers, before, top)
    if as_json:
        from moefacts.cli.output import json_text

        typer.echo(json_text(replies))
    if is_wrong:
        raise typer.Exit(EXIT_WRONG_NAME)


def _status(cohort: str | None, is_trained_on: bool, was_seen: bool, is_fine_tuned: bool) -> str:
    """What the model can know about a person, in words."""
    from moefacts.runs.keys import NEW

    if cohort is None:
        return _NOBODY
    if was_seen:
        return (
            "was seen before fine-tuning and in it" if is_trained_on else "was seen before fine-tuning, but not in it"
        )
    if is_trained_on:
        return "is new: seen in fine-tuning only" if is_fine_tuned else "was seen in training"
    if cohort == NEW and not is_fine_tuned:
        return "exists in the population but is kept for fine-tuning; it was not seen in training"
    return "exists in the population but was never seen in training"


def _print_answers(title: str, answers: Sequence["Answer"], before: Sequence["Answer"] | None, top: int) -> None:
    from rich.table import Table

    from moefacts.cli.output import console

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", title_style="bold")
    table.add_column("attribute", no_wrap=True)
    table.add_column("the model's top answers" if top > 1 else "the model's answer")
    if before is not None:
        table.add_column("before fine-tuning")
    if answers[0].truth is not None:
        table.add_column("truth")
    for place, answer in enumerate(answers):
        said = ", ".join(f"{value} {100 * probability:.1f}%" for value, probability in answer.answers)
        row = [answer.attribute.replace("_", " "), said]
        if before is not None:
            value, probability = before[place].answers[0]
            row.append(f"{value} {100 * probability:.1f}%")
        if answer.truth is not None:
            row.append(f"{answer.truth} {'✓' if answer.answers[0][0] == answer.truth else '✗'}")
        table.add_row(*row)
    console().print(table, "")
