"""``moefacts list``."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moefacts.cli.completion import complete_runs
from moefacts.cli.folders import as_folder
from moefacts.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod

    from moefacts.runs.listing import ListedRun

_WIDEST, _GAP = 22, 2  # characters of what differs where a terminal is narrow, and between two columns
_RESULTS = ("plateau end", "known", "unseen loss")
_EXPLAINED = (
    "plateau end: the first evaluation below the plateau; known: accuracy on people shown in training, at the end; "
    "unseen loss: of people never shown, at the end, over the no-knowledge baseline"
)


def list_everything(
    folder: Annotated[
        Path | None,
        typer.Argument(
            parser=as_folder,
            metavar="FOLDER",
            help="Folder that holds the runs (default: runs).",
            autocompletion=complete_runs,
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(parser=as_folder, metavar="FOLDER", help="The same folder, as an option.")
    ] = None,
) -> None:
    """List the presets, the studies, and the runs: their state, how they differ, and what they came to."""
    from rich.text import Text

    from moefacts.cli.output import console
    from moefacts.config.preset_files import GROUPS, preset_names
    from moefacts.experiments.studies.titles import study_titles
    from moefacts.runs.listing import listed_runs

    if folder is not None and root is not None:
        raise UserError(f"the folder of the runs was given twice, as {folder} and as --root {root}; leave one out")
    root = folder or root or Path("runs")
    screen = console()
    for group in GROUPS:
        presets = "  ".join(f"{group}={name}" for name in preset_names(group))
        screen.print(Text.assemble((group, "bold"), f"  {presets}"))
    screen.print()
    of_studies = ("study", "in the paper", "what it is about")
    _print_table(screen, of_studies, ((study.name, study.figure, study.title) for study in study_titles()))
    screen.print()
    runs = list(listed_runs(root))
    if not runs:
        screen.print(f"no runs below {root}/")
    elif screen.is_terminal:
        for folder, members in groupby(sorted(runs, key=lambda run: run.path), key=lambda run: run.path.parent):
            _print_folder(screen, folder, list(members))
        if any(run.outcome.accuracy is not None for run in runs):
            screen.print(_EXPLAINED, highlight=False)
    else:
        header = ("run", "state", "step", "people", "model", "seed", "what differs", *_RESULTS, "note")
        rows = ([str(run.path), run.state, *_numbers(run), run.differs, *_results(run), run.note] for run in runs)
        _print_table(screen, header, rows)


def _print_folder(screen: "Console", folder: Path, runs: Sequence["ListedRun"]) -> None:
    """A table that fits a terminal: names below their folder, and only what differs between them."""
    from rich.text import Text

    from moefacts.config.differences import PRESET, words

    settings = [run.settings for run in runs if run.settings]
    same = [key for key in (PRESET, "population.size", "seed") if len({repr(own[key]) for own in settings}) == 1]
    shared = f", {words(settings[0], same)}" if same else ""
    counted = f": {len(runs)} runs" if len(runs) > 1 else ""
    screen.print(Text.assemble((str(folder), "bold"), f"{counted}{shared}"))
    differ = any(run.differs for run in runs)
    ended = any(run.outcome.accuracy is not None for run in runs)
    header = [
        "run",
        "state",
        "step",
        *["what differs"] * differ,
        *[name.replace(" ", "\n") for name in _RESULTS] * ended,
    ]
    rows = []
    for run in runs:
        step = "" if run.steps is None else f"{run.step}/{run.steps}"
        rows.append([run.path.name, run.state, step, *[run.differs] * differ, *_results(run) * ended])
    _print_table(screen, header, rows, _widths(screen.width, header, rows))
    for run in runs:
        if run.note:
            screen.print(f"{run.path.name}: {run.note}", highlight=False)
    screen.print()


def _widths(most: int, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """The widths of all columns with which a table is at most so wide: the first and what differs give way to others.

    What differs is as wide as its longest setting, if that is not too long.
    """
    from rich.cells import cell_len

    lines = ["\n".join(cells).splitlines() for cells in zip(header, *rows, strict=True)]
    widths = {name: max(map(cell_len, texts)) for name, texts in zip(header, lines, strict=True)}
    excess = sum(widths.values()) + _GAP * (len(widths) - 1) - most
    if excess > 0 and "what differs" in widths:
        longest = max(len(part) + 1 for row in rows for part in row[header.index("what differs")].split(", "))
        differs = min(widths["what differs"], max(longest, len("what differs")), _WIDEST)
        excess -= widths["what differs"] - differs
        widths["what differs"] = differs
    widths[header[0]] = max(1, widths[header[0]] - max(0, excess))
    return widths


def _print_table(
    screen: "Console", header: Sequence[str], rows: Iterable[Sequence[str]], widths: Mapping[str, int] | None = None
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        side: JustifyMethod = "right" if name.replace("\n", " ") in _RESULTS else "left"
        is_short = side == "right" or name in ("state", "step")  # and must not give way to long names
        table.add_column(name, overflow="fold", justify=side, no_wrap=is_short, width=(widths or {}).get(name))
    for row in rows:
        table.add_row(*row)
    screen.print(table)


def _numbers(run: "ListedRun") -> tuple[str, ...]:
    if run.steps is None or run.people is None:
        return ("", "", "", "")
    return (f"{run.step}/{run.steps}", f"{run.people:,}", run.model, str(run.seed))


def _results(run: "ListedRun") -> list[str]:
    """The main results of a finished run in the order of ``_RESULTS``; a dash is one that it does not have."""
    ended = run.outcome
    if ended.accuracy is None:
        return [""] * len(_RESULTS)
    unseen = "–" if ended.unseen_loss is None else f"{ended.unseen_loss:.2f}"
    return ["–" if ended.plateau_end is None else f"{ended.plateau_end}", f"{100 * ended.accuracy:.1f}%", unseen]
