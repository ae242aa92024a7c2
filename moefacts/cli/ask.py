"""``moefacts ask``."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moefacts.cli.completion import complete_runs
from moefacts.cli.next_step import say_next
from moefacts.errors import UserError

if TYPE_CHECKING:
    from moefacts.analysis.known_risk import KnownRisk
    from moefacts.config.schema import RunConfig
    from moefacts.probes.ask import Answer

EXIT_WRONG_NAME = 2
_NOBODY = "is not in the population; everything the model says is made up"


def ask(
    run: Annotated[Path, typer.Argument(help="Run directory.", autocompletion=complete_runs)],
    names: Annotated[list[str], typer.Argument(help='Full names, each in quotes: "First Middle Last".')],
    top: Annotated[int, typer.Option(min=1, help="Number of answers to show.")] = 3,
    step: Annotated[int | None, typer.Option(help="Ask the checkpoint of this step (default: the last).")] = None,
    max_risk: Annotated[
        float | None,
        typer.Option(help="Answer only if at most this share of answers as sure or surer was wrong, such as 0.1."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a trained model about people: top answers, probabilities, the truth, and whether the model saw them.

    Once the run has been analyzed, it also shows how often answers as sure as the first one were right. Of a fine-tuned
    run it shows what the model said before.
    """
    from moefacts.experiments.tasks.materials import load_before, load_run
    from moefacts.probes.ask import ask as ask_model
    from moefacts.probes.ask import check_name
    from moefacts.runs.manifest import read_manifest
    from moefacts.runs.shown import shown_in_words, was_seen_before
    from moefacts.runs.tables import DECISIONS
    from moefacts.synthetic_data.near_names import hint

    if max_risk is not None and not 0 <= max_risk < 1:
        raise UserError(f"--max-risk {max_risk} must be at least 0 and below 1")
    config, materials = load_run(run, step)
    manifest = read_manifest(run)
    risk, unknown = _known_risk(run, config, manifest, step)
    if max_risk is not None and risk is None:
        raise UserError(f"--max-risk {max_risk}: {unknown}")
    bar = None if max_risk is None or risk is None else Bar(max_risk, risk.smallest_confidence(max_risk))
    population = materials.batcher.population
    before_model = load_before(run, config, materials)
    replies, is_wrong, answered = [], False, False
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
        if as_json:
            worth = {a.attribute: vars(a) | _worth(a, risk, bar, materials.batcher.abstentions) for a in answers}
            reply: dict[str, Any] = {"name": name, "cohort": cohort, "answers": worth}
            if before is not None:
                reply["seen_before_fine_tuning"] = individual is not None and was_seen_before(manifest, individual)
                reply["before_fine_tuning"] = {a.attribute: vars(a) for a in before}
            replies.append(reply)
        else:
            answered = True
            status = _NOBODY
            if individual is not None and cohort is not None:
                status = shown_in_words(config, manifest, individual, cohort)
            _print_answers(f"{name} {status}", answers, before, top, risk, bar, materials.batcher.abstentions)
    if as_json:
        from moefacts.cli.output import json_text

        typer.echo(json_text(replies))
    elif answered:
        typer.echo(unknown if risk is None else _explained(risk))
    if is_wrong:
        raise typer.Exit(EXIT_WRONG_NAME)
    known = [name for name in names if population.find(name) is not None]
    if not DECISIONS.path(run).exists():
        say_next("analyze", run)
    else:
        say_next("explore", run, *(word for name in known for word in ("--name", name)))


@dataclass(frozen=True)
class Bar:
    """The share of answers that may be wrong, and the smallest confidence for which this holds; None if none does."""

    max_risk: float
    confidence: float | None

    def refusal(self, said: str, confidence: float, abstentions: Sequence[str]) -> str | None:
        """Why an answer of this confidence is not given; None if it is."""
        if said in abstentions:
            return f"does not answer: says {said}"
        if self.confidence is None:
            return f"does not answer: at no confidence were at most {100 * self.max_risk:g}% of the answers wrong"
        if confidence < self.confidence:
            return f"does not answer: {100 * confidence:.1f}% sure, below {100 * self.confidence:.1f}%"
        return None


def _known_risk(
    run: Path, config: "RunConfig", manifest: dict[str, Any], step: int | None
) -> tuple["KnownRisk | None", str]:
    """What the decisions table of the run says about confidences, and why it says nothing if it does not."""
    from moefacts.analysis.known_risk import known_risk
    from moefacts.runs import layout
    from moefacts.runs.shown import shown_cohort, unseen_cohorts
    from moefacts.runs.tables import DECISIONS

    table = DECISIONS.read(run)
    if table is None:
        command = shlex.join(["moefacts", "analyze", str(run)])
        return None, f"how often it is right when this sure is not known yet; `{command}` finds out"
    risk = known_risk(table, shown_cohort(config, manifest), unseen_cohorts(config, manifest))
    if risk is None:
        return None, "how often it is right when this sure is not known: the run does not evaluate unseen people"
    asked = layout.checkpoint_steps(run)[-1] if step is None else step
    if risk.step != asked:
        return None, f"how often it is right when this sure is known at step {risk.step} only, not at step {asked}"
    return risk, ""


def _worth(answer: "Answer", risk: "KnownRisk | None", bar: Bar | None, abstentions: Sequence[str]) -> dict[str, Any]:
    """What the confidence in the first answer is worth, for JSON; an answer that is no value is worth nothing."""
    said, confidence = answer.answers[0]
    is_known = risk is not None and said not in abstentions
    share, count = risk.right_when_this_sure(confidence) if risk is not None and is_known else (None, None)
    found: dict[str, Any] = {"confidence": confidence, "right_when_this_sure": share, "answers_this_sure": count}
    if bar is not None:
        found["abstains"] = bar.refusal(said, confidence, abstentions) is not None
        found["smallest_confidence"] = bar.confidence
    return found


def _explained(risk: "KnownRisk") -> str:
    return (
        f"right when this sure: the share of right answers among the tenth of {len(risk.right_N)} that were about as "
        f"sure, {risk.mixture} people; see docs/hallucination.md"
    )


def _print_answers(
    title: str,
    answers: Sequence["Answer"],
    before: Sequence["Answer"] | None,
    top: int,
    risk: "KnownRisk | None",
    bar: Bar | None,
    abstentions: Sequence[str],
) -> None:
    from rich.table import Table

    from moefacts.cli.output import console

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", title_style="bold")
    table.add_column("attribute", no_wrap=True)
    table.add_column("the model's top answers" if top > 1 else "the model's answer")
    if risk is not None:
        table.add_column("right when this sure")
    if before is not None:
        table.add_column("before fine-tuning")
    if answers[0].truth is not None:
        table.add_column("truth")
    for place, answer in enumerate(answers):
        said = ", ".join(f"{value} {100 * probability:.1f}%" for value, probability in answer.answers)
        refusal = None if bar is None else bar.refusal(*answer.answers[0], abstentions)
        row = [answer.attribute.replace("_", " "), refusal or said]
        if risk is not None:
            share, count = risk.right_when_this_sure(answer.answers[0][1])
            row.append("–" if answer.answers[0][0] in abstentions else f"{100 * share:.0f}% of {count}")
        if before is not None:
            value, probability = before[place].answers[0]
            row.append(f"{value} {100 * probability:.1f}%")
        if answer.truth is not None:
            mark = "" if refusal else " ✓" if answer.answers[0][0] == answer.truth else " ✗"
            row.append(answer.truth + mark)
        table.add_row(*row)
    console().print(table, "")
