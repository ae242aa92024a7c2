"""What ``moefacts reproduce`` says of a plan: what it would run, and what it begins."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from moefacts.experiments.engine.estimates import Estimate
    from moefacts.experiments.engine.grid import Plan


def announce(plan: "Plan", expected: "Estimate", retry_failed: bool) -> None:
    """Say what a study begins with: how many runs are there, how many are left, and how long they take."""
    from moefacts.experiments.engine.grid import BESIDE
    from moefacts.experiments.engine.grid_progress import clock
    from moefacts.experiments.engine.simulations import planned_simulations
    from moefacts.runs.manifest import FAILED, FINISHED

    parts = []
    if runs := plan.distinct():
        parts = [f"{len(runs)} runs", f"{len(plan.distinct(FINISHED))} finished", f"{len(expected.seconds)} to train"]
    if beside := plan.distinct(BESIDE):
        studies = sorted({run.copied_from.parent.name for run in beside if run.copied_from})
        parts.append(f"{len(beside)} copied from {', '.join(studies)}")
    if (failed := plan.distinct(FAILED)) and not retry_failed:
        parts.append(f"{len(failed)} failed earlier (--retry-failed tries them again)")
    if expected.seconds:
        parts.append(f"about {clock(expected.total_seconds)}, {expected.jobs} at a time")
    if simulations := planned_simulations(plan):
        left = sum(one.simulation.seconds for one in simulations if one.state != FINISHED)
        finished = sum(one.state == FINISHED for one in simulations)
        parts.append(f"{len(simulations)} simulations, {finished} finished, the others about {clock(left)} on one core")
    typer.echo(f"{plan.study.name} in {plan.out}: {', '.join(parts)}", err=True)


def print_plan(plan: "Plan", expected: "Estimate") -> None:
    """Print every run of a plan with its state, steps and time."""
    from moefacts.cli.output import console
    from moefacts.experiments.engine.grid_progress import clock

    seconds, tokens = dict(_by_path(expected.seconds)), dict(_by_path(expected.tokens))
    table = _table(f"{plan.study.name}, scale {plan.scale}")
    varied = plan.varied_labels()
    texts = ("run", "what differs", "state") if any(varied.values()) else ("run", "state")
    for column in (*texts, "steps", "tokens", "time alone"):
        table.add_column(column, overflow="fold", justify="left" if column in texts else "right")
    for run in plan.distinct():
        most, expected_steps = run.config.training.steps, run.expected_steps
        steps = f"{most:,}" if expected_steps == most else f"about {expected_steps:,}, at most {most:,}"
        left = (steps, f"{tokens[run.path]:,.0f}", clock(seconds[run.path])) if run.path in seconds else ()
        differs = (varied.get(run.path, "needed first"),) if "what differs" in texts else ()
        state = f"finished in {run.copied_from.parent.name}" if run.copied_from else run.state
        table.add_row(run.path.name, *differs, state, *left)
    screen = console()
    screen.print(table)
    screen.print(
        f"to train: {len(seconds)} runs, {expected.total_tokens:,.0f} tokens, about {clock(expected.total_seconds)} "
        f"with {expected.jobs} at a time; nothing was started"
    )
    for part, runs in _parts(expected).items():
        screen.print(f"of these, {part}: {len(runs)} runs, about {clock(expected.of_runs(runs).total_seconds)}")
    if plan.study.probes:
        screen.print(f"not counted: the probes of the runs ({', '.join(plan.study.probes)}), which follow")
    for source in expected.sources:
        screen.print(f"speed of {source}")


def print_simulations(plan: "Plan") -> None:
    """Print the simulations of a plan, if it has any."""
    from moefacts.cli.output import console
    from moefacts.experiments.engine.grid_progress import clock
    from moefacts.experiments.engine.simulations import planned_simulations
    from moefacts.runs.manifest import FINISHED

    simulations = planned_simulations(plan)
    if not simulations:
        return
    table = _table(f"{plan.study.name}, scale {plan.scale}")
    for column in ("simulation", "state", "time alone"):
        table.add_column(column, overflow="fold")
    left = [one for one in simulations if one.state != FINISHED]
    for one in simulations:
        table.add_row(one.path.name, one.state, clock(one.simulation.seconds) if one in left else "")
    screen = console()
    screen.print(table)
    seconds = clock(sum(one.simulation.seconds for one in left))
    screen.print(f"to simulate: {len(left)}, about {seconds} on one core of a laptop; nothing was started")


def print_total(plans: "Sequence[Plan]", estimates: "Sequence[Estimate]") -> None:
    """Print how long each of several studies takes."""
    from moefacts.cli.output import console
    from moefacts.experiments.engine.grid_progress import clock

    table = _table("all studies")
    for column in ("study", "in the paper", "runs to train", "steps", "time"):
        table.add_column(column, justify="left" if column in ("study", "in the paper") else "right")
    for plan, expected in zip(plans, estimates, strict=True):
        steps = sum(run.expected_steps for run, _ in expected.seconds)
        row = (plan.study.name, plan.study.figure, str(len(expected.seconds)), f"{steps:,}")
        table.add_row(*row, clock(expected.total_seconds))
    screen = console()
    screen.print(table)
    total = sum(expected.total_seconds for expected in estimates)
    screen.print(f"{len(plans)} studies, about {clock(total)} in all, {max(e.jobs for e in estimates)} runs at a time")
    screen.print("nothing was started; moefacts reproduce STUDY --dry-run lists the runs of one study")


def _parts(expected) -> dict[str, list]:
    """Part of the grid -> its runs to train; empty unless they belong to several parts."""
    parts: dict[str, list] = {}
    for run, _ in expected.seconds:
        parts.setdefault(run.grid_run.labels.get("part", "other runs"), []).append(run)
    return parts if len(parts) > 1 else {}


def _by_path(pairs):
    return ((run.path, value) for run, value in pairs)


def _table(title: str) -> "Table":
    from rich.table import Table

    return Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
