"""``moefacts reproduce``."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moefacts.analysis.forest import effect_text
from moefacts.cli.completion import Overrides, complete_study
from moefacts.cli.folders import as_folder
from moefacts.cli.next_step import say_next
from moefacts.errors import UserError, check_choice

if TYPE_CHECKING:
    from moefacts.experiments.engine.grid import Plan

_ROOT = Path("runs")
_HOURS_TO_REFUSE = 24
EXIT_INCOMPLETE = 1


def reproduce(
    study: Annotated[
        str, typer.Argument(help="A study (moefacts list shows them), or 'all'.", autocompletion=complete_study)
    ],
    overrides: Overrides = None,
    scale: Annotated[str, typer.Option(help="laptop, workstation (some studies) or paper.")] = "laptop",
    out: Annotated[
        Path | None,
        typer.Option(parser=as_folder, metavar="FOLDER", help="Folder for runs and results (default: runs/STUDY)."),
    ] = None,
    launcher: Annotated[
        str | None, typer.Option(help="basic, joblib, submitit or ray (default: joblib; basic on a GPU).")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Number of runs at a time (default: one per core).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would run, and for how long.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Train nothing; only examine finished runs.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed runs again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start even if it will take more than a day.")] = False,
) -> None:
    """Run a study of the paper: its grid of runs, its figure, and a verdict on each of its claims.

    The same command resumes a study: finished runs are kept, half-done ones resumed, and failed ones listed.

    Further arguments are Hydra overrides for every run:  moefacts reproduce plateau-law model=moe_laptop
    """
    from moefacts.cli.launchers import find_launcher, launch_with_hydra, num_cores
    from moefacts.experiments.engine.adopt import find_beside
    from moefacts.experiments.engine.estimates import estimate
    from moefacts.experiments.engine.grid import make_plan
    from moefacts.experiments.engine.launch import launch_runs, runs_to_launch
    from moefacts.experiments.engine.study import SCALES
    from moefacts.experiments.studies.catalog import find_studies
    from moefacts.training.interrupt import Interrupted

    check_choice("--scale", scale, SCALES)
    studies = find_studies(study, scale)
    typed = overrides or []
    settings = [argument for argument in typed if argument.lstrip("+~").startswith("hydra")]
    of_runs = [argument for argument in typed if argument not in settings]
    folders = [out / one.name if out and len(studies) > 1 else out for one in studies]
    plans = [make_plan(one, scale, of_runs, folder, _ROOT) for one, folder in zip(studies, folders, strict=True)]
    given = {"--scale": scale if scale != "laptop" else None, "--out": out, "--launcher": launcher, "--jobs": jobs}
    words = [word for option, value in given.items() if value is not None for word in (option, str(value))]
    command = ["reproduce", study, *words, *["--force"] * force, *typed]
    if report:
        _write_pages(plans, len(studies), out, command)
        return
    plans = [find_beside(plan) for plan in plans]
    chosen = find_launcher(launcher or ("basic" if _has_gpu() else "joblib"))
    jobs_here = jobs or (num_cores() if chosen.jobs_key and chosen.is_local else None)
    try:
        at_a_time = jobs_here or (1 if chosen.is_local else sum(len(plan.runs) for plan in plans))
        tried: dict = {}
        estimates = [estimate(plan, runs_to_launch(plan, retry_failed), at_a_time, tried) for plan in plans]
        if dry_run:
            if len(plans) == 1:
                if plans[0].runs:
                    _print_plan(plans[0], estimates[0])
                _print_simulations(plans[0])
            else:
                _print_total(plans, estimates)
            say_next(*command)
            return
        if chosen.is_local and not force:
            _refuse_endless(sum(expected.total_seconds for expected in estimates), estimates, scale)

        def launched() -> Iterator["Plan"]:
            for plan, expected in zip(plans, estimates, strict=True):
                _announce(plan, expected, retry_failed)
                launch = launch_with_hydra(chosen, jobs_here, settings, plan.out / ".multirun")
                yield launch_runs(plan, expected, launch, longest_first=jobs_here not in (None, 1))

        _write_pages(launched(), len(studies), out, command)
    except Interrupted as interrupted:
        typer.echo(f"moefacts: {interrupted}", err=True)
        raise typer.Exit(interrupted.exit_code) from None


def _write_pages(plans: Iterable["Plan"], num_studies: int, out: Path | None, command: Sequence[str]) -> None:
    """Write and print the results of each study in turn, and one page if there are several; ``command`` resumes them.

    Raises:
        typer.Exit: with code 1, when a study is incomplete.
    """
    from moefacts.analysis.study_report import write_study_report
    from moefacts.experiments.engine.results import left_to_others, write_results
    from moefacts.runs.manifest import FAILED

    pages, has_failed, folder = [], False, out or _ROOT
    for plan in plans:
        has_failed |= bool(plan.distinct(FAILED))
        folder = plan.out if num_studies == 1 else folder
        try:
            pages.append(write_results(plan))
        except UserError as error:  # no run is finished; this must not stop the other studies
            typer.echo(f"moefacts: {error}", err=True)
        else:
            _print_verdicts(pages[-1], plan)
            if line := left_to_others(plan, pages[-1].result["missing"]):
                typer.echo(f"moefacts: {line}", err=True)
    if num_studies > 1 and pages:
        page = (out or _ROOT) / "all.html"
        write_study_report(pages, page)
        typer.echo(f"all studies on one page: {page}")
    if len(pages) < num_studies or not all(page.result["complete"] for page in pages):
        say_next(*command, *["--retry-failed"] * has_failed)
        raise typer.Exit(EXIT_INCOMPLETE)
    say_next("list", "--root", folder)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _refuse_endless(seconds: float, estimates, scale: str) -> None:
    if seconds <= _HOURS_TO_REFUSE * 3600:
        return
    sources = "; ".join(dict.fromkeys(source for expected in estimates for source in expected.sources))
    ways_out = "use --scale laptop, a GPU, or --launcher submitit" if scale == "paper" else "use --jobs or fewer steps"
    raise UserError(
        f"this would take about {seconds / 3600:,.0f} hours on this machine ({sources}); {ways_out}, "
        "or --force to start it anyway"
    )


def _announce(plan, expected, retry_failed: bool) -> None:
    from moefacts.experiments.engine.grid import BESIDE
    from moefacts.experiments.engine.grid_progress import clock
    from moefacts.experiments.engine.simulations import planned_simulations
    from moefacts.runs.manifest import FAILED, FINISHED

    parts = []
    if runs := plan.distinct():
        parts = [f"{len(runs)} runs", f"{len(plan.distinct(FINISHED))} finished", f"{len(expected.seconds)} to train"]
    if beside := plan.distinct(BESIDE):
        parts.append(f"{len(beside)} copied from {', '.join(sorted({run.copied_from.parent.name for run in beside}))}")
    if (failed := plan.distinct(FAILED)) and not retry_failed:
        parts.append(f"{len(failed)} failed earlier (--retry-failed tries them again)")
    if expected.seconds:
        parts.append(f"about {clock(expected.total_seconds)}, {expected.jobs} at a time")
    if simulations := planned_simulations(plan):
        left = sum(one.simulation.seconds for one in simulations if one.state != FINISHED)
        finished = sum(one.state == FINISHED for one in simulations)
        parts.append(f"{len(simulations)} simulations, {finished} finished, the others about {clock(left)} on one core")
    typer.echo(f"{plan.study.name} in {plan.out}: {', '.join(parts)}", err=True)


def _print_plan(plan, expected) -> None:
    from rich.table import Table

    from moefacts.cli.output import console
    from moefacts.experiments.engine.grid_progress import clock

    seconds, tokens = dict(_by_path(expected.seconds)), dict(_by_path(expected.tokens))
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"{plan.study.name}, scale {plan.scale}")
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


def _print_simulations(plan) -> None:
    from rich.table import Table

    from moefacts.cli.output import console
    from moefacts.experiments.engine.grid_progress import clock
    from moefacts.experiments.engine.simulations import planned_simulations
    from moefacts.runs.manifest import FINISHED

    simulations = planned_simulations(plan)
    if not simulations:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"{plan.study.name}, scale {plan.scale}")
    for column in ("simulation", "state", "time alone"):
        table.add_column(column, overflow="fold")
    left = [one for one in simulations if one.state != FINISHED]
    for one in simulations:
        table.add_row(one.path.name, one.state, clock(one.simulation.seconds) if one in left else "")
    screen = console()
    screen.print(table)
    seconds = clock(sum(one.simulation.seconds for one in left))
    screen.print(f"to simulate: {len(left)}, about {seconds} on one core of a laptop; nothing was started")


def _parts(expected) -> dict[str, list]:
    """Part of the grid -> its runs to train; empty unless they belong to several parts."""
    parts: dict[str, list] = {}
    for run, _ in expected.seconds:
        parts.setdefault(run.grid_run.labels.get("part", "other runs"), []).append(run)
    return parts if len(parts) > 1 else {}


def _print_total(plans, estimates) -> None:
    from rich.table import Table

    from moefacts.cli.output import console
    from moefacts.experiments.engine.grid_progress import clock

    table = Table(box=None, pad_edge=False, header_style="bold", title="all studies")
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


def _by_path(pairs):
    return ((run.path, value) for run, value in pairs)


def _print_verdicts(page, plan) -> None:
    from rich.table import Table
    from rich.text import Text

    from moefacts.cli.output import console
    from moefacts.runs import layout

    colors = {"holds": "green", "does not hold": "red"}
    screen = console()
    for part in page.tables:
        table = Table(box=None, pad_edge=False, header_style="bold", title=part.title, title_justify="left")
        for column in part.columns:
            table.add_column(column)
        for row in part.rows:
            table.add_row(*row)
        screen.print(table)
        screen.print(f"{part.note}\n")
    result = page.result
    incomplete = "" if result["complete"] else " (INCOMPLETE)"
    title = f"{plan.study.name}, {plan.study.figure}, scale {plan.scale}{incomplete}"
    table = Table(pad_edge=False, header_style="bold", title=title, show_lines=True)
    for column in ("claim", "published", "here, with its 95% interval", "verdict", "rule"):
        table.add_column(column, ratio=3 if column in ("claim", "rule") else None)
    for claim in result["claims"]:
        verdict = Text(claim["verdict"], f"bold {colors.get(claim['verdict'], 'yellow')}")
        table.add_row(claim["claim"], claim["published"], effect_text(claim), verdict, claim["rule"])
    screen.print(table)
    if result["judged_together"]:
        screen.print(result["judged_together"]["text"])
    for run in result["missing"]:
        log = f"; its log: {plan.out / 'logs' / run['run']}.log" if run["log"] else ""
        screen.print(f"missing: {run['run']}: {run['state']}{log}")
    screen.print(f"report: {plan.out / layout.REPORT}")
