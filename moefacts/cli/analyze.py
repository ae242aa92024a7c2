"""``moefacts analyze``."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from moefacts.cli.completion import complete_runs
from moefacts.cli.folders import as_folder
from moefacts.cli.next_step import say_next
from moefacts.errors import UserError

ANALYSIS_FOLDER = "analysis"


def analyze(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run directories, or folders of runs, of which all finished ones are taken.",
            autocompletion=complete_runs,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=as_folder,
            metavar="FOLDER",
            help="Folder for figures and report (default: the run's own; for several runs analysis, beside them).",
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="The plateau ends below this fraction of the baseline (default: the run's).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all measures as JSON.")] = False,
    mechanism: Annotated[
        bool,
        typer.Option("--mechanism", help="Also measure which layer does what (knock-outs, ablations, tracing)."),
    ] = False,
    report: Annotated[bool, typer.Option(help="Draw figures and write the report.")] = True,
    known_person: Annotated[
        bool,
        typer.Option(
            "--known-person", help="Also write probes/known_person.parquet: does the model tell whom it knows?"
        ),
    ] = False,
    temperature: Annotated[
        bool,
        typer.Option("--temperature", help="Also write probes/temperature.parquet: one temperature per attribute."),
    ] = False,
) -> None:
    """Measure runs (phases, plateau, emergence, hallucination), draw figures and write an HTML report.

    Runs that differ only in their seed are averaged, with intervals.

    A whole study or sweep:  moefacts analyze runs/phases
    """
    from moefacts.analysis.groups import choose_runs, group_by_seed
    from moefacts.analysis.summary import as_json as measures_as_json
    from moefacts.cli.run_folders import finished_runs, is_run
    from moefacts.runs import tables
    from moefacts.runs.reader import read_run

    if threshold is not None and not 0 < threshold < 1:
        raise UserError(f"--threshold {threshold} must lie between 0 and 1")
    paths = [path for path in dict.fromkeys(path.resolve() for path in runs) if not _is_analysis(path)]
    if not paths:
        raise UserError("there is no run among these folders, only the results of earlier analyses")
    checked = list(tables.PROBES) if report else ["retention", "decisions", "router_detection"]
    found = []
    for path in map(_shown, paths):
        found += finished_runs(path, checked) if path.is_dir() and not is_run(path) else [read_run(path)]
    read, notes = choose_runs(found)
    for note in notes:
        typer.echo(f"moefacts: {note}", err=True)
    if report:
        _run_probes(read)
    asked = {"known_person": known_person, "temperature": temperature, "mechanism": mechanism}
    requested = [name for name, is_wanted in asked.items() if is_wanted]
    if requested:
        _run_probes(read, *requested)
    for run in read:
        run.check_tables(*checked)
    groups = group_by_seed(read)
    beside = paths[0] if len(paths) == 1 else paths[0].parent
    target = out or (_shown(beside) if is_run(beside) else _shown(beside) / ANALYSIS_FOLDER)
    if report:
        from moefacts.analysis.figures import draw_figures
        from moefacts.analysis.report import write_report
        from moefacts.runs import layout
        from moefacts.runs.locks import turn_to_write

        with turn_to_write(target):
            drawings = draw_figures(groups, target / layout.FIGURES, threshold)
            write_report(groups, drawings, target / layout.REPORT, threshold)
    _report_undetermined_plateaus(groups, threshold)
    if as_json:
        from moefacts.cli.output import json_text

        typer.echo(json_text(measures_as_json(groups, threshold)))
    else:
        _print_table(groups, threshold)
        if mechanism:
            _print_mechanism(groups)
    if report:
        typer.echo(f"report: {target / layout.REPORT}", err=as_json)
        say_next("explore", groups[0].runs[0].path)
    else:
        say_next("analyze", *runs)


def _is_analysis(path: Path) -> bool:
    """Whether ``path`` is the folder that an earlier analysis of several runs wrote beside them."""
    return path.name == ANALYSIS_FOLDER and (path / "report.html").exists() and not (path / "config.yaml").exists()


def _run_probes(runs, *requested: str) -> None:
    """Run those of the probes that are missing, by default all for the report. Nothing else here uses torch.

    Of those that are requested and cannot be run, a line says why.
    """
    from moefacts.runs.suits import why_not

    for run in runs:
        for probe in requested:
            if not run.has_probed(probe) and (reason := why_not(run, probe)):
                option = f"--{probe.replace('_', '-')}"
                typer.echo(f"moefacts: {run.path}: {option} is left out: {reason}", err=True)
        missing = [probe for probe in requested if run.lacks(probe)] if requested else run.missing_probes
        if missing:
            from moefacts.experiments.tasks.probe import probe_run

            what = "tables" if requested else "figures"
            try:
                written = " and ".join(probe_run(run, *missing))
            except UserError as error:
                typer.echo(f"moefacts: {run.path}: {what} of {' and '.join(missing)} are missing: {error}", err=True)
            else:
                if written:  # else another process has probed meanwhile
                    typer.echo(f"{run.path}: {written} probed", err=True)


def _shown(path: Path) -> Path:
    """The path as a user would write it: relative when it is below the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _report_undetermined_plateaus(groups, threshold: float | None) -> None:
    from moefacts.analysis.phases import phase_measures
    from moefacts.analysis.plateau_end import CANNOT_TELL

    for run in (run for group in groups for run in group.runs):
        found = phase_measures(run, threshold)
        if found["plateau_end_status"] == CANNOT_TELL:
            reason = found["plateau_end_reason"]
            typer.echo(f"moefacts: {run.path}: the plateau's end cannot be determined: {reason}", err=True)


def _print_table(groups, threshold: float | None) -> None:
    from moefacts.analysis.decision_tables import ROUTER_HEADER, decision_sentence, decision_table, router_rows
    from moefacts.analysis.fading import NOT_FORGETTING
    from moefacts.analysis.forgetting_tables import forgetting_sentences, forgetting_table
    from moefacts.analysis.hallucination_tables import requested_tables
    from moefacts.analysis.knowledge import KNOWLEDGE
    from moefacts.analysis.retention_tables import RETENTION_HEADER, retention_rows
    from moefacts.analysis.summary import cell, fine_tuned, has_knowledge, knowledge_rows, meanings, summarize_group
    from moefacts.cli.output import console
    from moefacts.cli.table_parts import print_in_parts

    summaries = [summarize_group(group, threshold) for group in groups]
    labels = [f"{group.label} ({len(group.runs)} run{'s' if len(group.runs) > 1 else ''})" for group in groups]
    rows = [[key, *(cell(key, one.get(key), has_knowledge(one)) for one in summaries)] for key in meanings(groups)]
    print_in_parts(["measure", *labels], rows)
    if known := knowledge_rows(groups, threshold):
        _print_rows(
            ["group", "attribute", *KNOWLEDGE], [(label, attribute, *cells) for label, attribute, cells in known]
        )
    for first, (header, measured), sentences in (
        ("answers", decision_table(groups), _sentences(groups, groups, lambda group: [decision_sentence(group)])),
        ("fine-tuning", forgetting_table(groups), _sentences(groups, fine_tuned(groups), forgetting_sentences)),
    ):
        if header:
            print_in_parts([first, *header], [(key, *cells) for key, cells, _ in measured])
            for text in sentences:
                console().print(text, highlight=False)
    for group in groups:
        for cells in requested_tables(group):
            console().print(cells.title, highlight=False)
            _print_rows(cells.columns, cells.rows)
    if routed := router_rows(groups):
        _print_rows([*["group"] * (len(groups) > 1), *ROUTER_HEADER], routed)
    if found := retention_rows(groups):
        _print_rows(RETENTION_HEADER, found)
        console().print(NOT_FORGETTING, highlight=False)


def _print_mechanism(groups) -> None:
    """The table by layer of the last checkpoint, for the groups whose runs have all been probed."""
    from moefacts.analysis.mechanism import has_mechanism
    from moefacts.analysis.mechanism_tables import layer_cells
    from moefacts.cli.output import console
    from moefacts.cli.table_parts import print_in_parts

    for group in groups:
        if all(map(has_mechanism, group.runs)):
            cells = layer_cells(group.runs)[0]
            label = f"{group.label}: " * (len(groups) > 1)
            console().print(f"{label}layer by layer, {cells.title} (docs/mechanism.md)", highlight=False)
            print_in_parts(cells.columns, cells.rows)


def _print_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.table import Table

    from moefacts.cli.output import console

    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def _sentences(groups, wanted, of_group: Callable[..., Sequence[str]]) -> list[str]:
    """What ``of_group`` says of each of ``wanted``, headed by the group where there are several ``groups``."""
    return [
        f"{group.label}: {text}" if len(groups) > 1 else text for group in wanted for text in of_group(group) if text
    ]
