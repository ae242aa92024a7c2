"""``moefacts reproduce``."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moefacts.cli.completion import Overrides, complete_study
from moefacts.cli.folders import as_file, as_folder
from moefacts.cli.next_step import say_next
from moefacts.cli.reproduce_plan import announce, print_plan, print_simulations, print_total
from moefacts.cli.reproduce_verdicts import print_verdicts
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
    to_records: Annotated[
        Path | None,
        typer.Option(
            parser=as_file, metavar="FILE", help="Then write what the runs measured, without weights, to FILE.tar.xz."
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option("--leave-out", metavar="TABLE", help="A table of probes/ to leave out of it, as in confidence."),
    ] = None,
    from_records: Annotated[
        Path | None,
        typer.Option(parser=as_file, metavar="FILE", help="First take over the runs that are in such a file."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Start even if it will take more than a day.")] = False,
) -> None:
    """Run a study of the paper: its grid of runs, its figure, and a verdict on each of its claims.

    The same command resumes a study: finished runs are kept, half-done ones resumed, and failed ones listed.

    Further arguments are Hydra overrides for every run:  moefacts reproduce plateau-law model=moe_laptop
    """
    from moefacts.cli.launchers import find_launcher, launch_with_hydra, num_cores
    from moefacts.cli.machine_load import busy_note
    from moefacts.experiments.engine.adopt import find_beside
    from moefacts.experiments.engine.estimates import estimate
    from moefacts.experiments.engine.grid import make_plan
    from moefacts.experiments.engine.launch import launch_runs, runs_to_launch
    from moefacts.experiments.engine.record_archive import check_tables
    from moefacts.experiments.engine.study import SCALES
    from moefacts.experiments.studies.catalog import find_studies
    from moefacts.training.interrupt import Interrupted

    check_choice("--scale", scale, SCALES)
    studies = find_studies(study, scale)
    typed = overrides or []
    settings = [argument for argument in typed if argument.lstrip("+~").startswith("hydra")]
    of_runs = [argument for argument in typed if argument not in settings]
    folders = [out / one.name if out and len(studies) > 1 else out for one in studies]
    if to_records and len(studies) > 1:
        raise UserError(f"--to-records goes with one study, not with {study!r}")
    if leave_out and not to_records:
        raise UserError("--leave-out is about the file that --to-records writes; give both")
    check_tables(leave_out or ())
    if from_records and dry_run:
        raise UserError("--dry-run writes nothing, and --from-records takes runs over; leave one of them out")
    plans = [make_plan(one, scale, of_runs, folder, _ROOT) for one, folder in zip(studies, folders, strict=True)]
    if from_records:
        plans = [_taken_over(plan, from_records) for plan in plans]
    given = {"--scale": scale if scale != "laptop" else None, "--out": out, "--launcher": launcher, "--jobs": jobs}
    words = [word for option, value in given.items() if value is not None for word in (option, str(value))]
    command = ["reproduce", study, *words, *["--force"] * force, *typed]
    if report:
        _write_pages(plans, len(studies), out, command, to_records, leave_out or ())
        return
    plans = [find_beside(plan) for plan in plans]
    chosen = find_launcher(launcher or ("basic" if _has_gpu() else "joblib"))
    jobs_here = jobs or (num_cores() if chosen.jobs_key and chosen.is_local else None)
    try:
        at_a_time = jobs_here or (1 if chosen.is_local else sum(len(plan.runs) for plan in plans))
        tried: dict = {}
        busy = busy_note()  # before trials add to the load
        estimates = [estimate(plan, runs_to_launch(plan, retry_failed), at_a_time, tried) for plan in plans]
        if dry_run:
            if len(plans) == 1:
                if plans[0].runs:
                    print_plan(plans[0], estimates[0])
                print_simulations(plans[0])
            else:
                print_total(plans, estimates)
            if busy and any(expected.seconds for expected in estimates):
                typer.echo(busy)
            say_next(*command)
            return
        if chosen.is_local and not force:
            _refuse_endless(sum(expected.total_seconds for expected in estimates), estimates, scale)

        def launched() -> Iterator["Plan"]:
            for plan, expected in zip(plans, estimates, strict=True):
                announce(plan, expected, retry_failed)
                launch = launch_with_hydra(chosen, jobs_here, settings, plan.out / ".multirun")
                yield launch_runs(plan, expected, launch, longest_first=jobs_here not in (None, 1))

        _write_pages(launched(), len(studies), out, command, to_records, leave_out or ())
    except Interrupted as interrupted:
        typer.echo(f"moefacts: {interrupted}", err=True)
        raise typer.Exit(interrupted.exit_code) from None


def _taken_over(plan: "Plan", records: Path) -> "Plan":
    from moefacts.experiments.engine.record_archive import take_over

    plan, number = take_over(plan, records)
    typer.echo(f"{plan.study.name} in {plan.out}: {number} runs taken over from {records}", err=True)
    return plan


def _write_pages(
    plans: Iterable["Plan"],
    num_studies: int,
    out: Path | None,
    command: Sequence[str],
    records: Path | None,
    without: Sequence[str],
) -> None:
    """Write and print the results of each study in turn, and one page if there are several; ``command`` resumes them.

    What the runs of the only study measured is written to ``records`` if that is given, but for the tables ``without``.

    Raises:
        typer.Exit: with code 1, when a study is incomplete.
    """
    from moefacts.analysis.study_report import write_study_report
    from moefacts.experiments.engine.record_archive import pack_records
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
            print_verdicts(pages[-1], plan)
            if line := left_to_others(plan, pages[-1].result["missing"]):
                typer.echo(f"moefacts: {line}", err=True)
            if records:
                typer.echo(f"records of {pack_records(plan, records, without)} runs: {records}")
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
