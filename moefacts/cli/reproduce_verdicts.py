"""The tables and verdicts of a study on the terminal."""

from typing import TYPE_CHECKING

from moefacts.analysis.forest import effect_text

if TYPE_CHECKING:
    from moefacts.analysis.study_report import StudyPage
    from moefacts.experiments.engine.grid import Plan


def print_verdicts(page: "StudyPage", plan: "Plan") -> None:
    """Print the tables of a study and its verdicts."""
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
    table = Table(pad_edge=False, header_style="bold", title=title, title_justify="left", show_lines=True)
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
