"""The report of one or several studies: one self-contained HTML page with verdicts, figures, tables and commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moefacts.analysis.embed import common_factor
from moefacts.analysis.figures import Drawing
from moefacts.analysis.forest import Row, forest, lead
from moefacts.analysis.report import page_template
from moefacts.analysis.table import Table
from moefacts.runs.durable import write_durably


@dataclass(frozen=True)
class StudyPage:
    """One study on the page: the content of its ``results.json``, tables, figures, and what a reader must know."""

    result: dict[str, Any]
    tables: Sequence[Table]
    drawings: Sequence[Drawing]
    note: str = ""

    @property
    def forest(self) -> list[Row]:
        """The claims with their effects."""
        return forest(self.result["claims"])

    @property
    def factor(self) -> float:
        """By how much its drawings are enlarged."""
        return common_factor(self.drawings)

    @property
    def lead(self) -> str:
        """What was found, in one or two sentences."""
        return lead(self.result["claims"])


def write_study_report(pages: Sequence[StudyPage], path: Path) -> None:
    """Write the page of one or several studies."""
    title = pages[0].result["title"] if len(pages) == 1 else f"{len(pages)} studies and their verdicts"
    page = page_template("study.html").render(
        title=title, pages=pages, charts=any(drawing.panels for page in pages for drawing in page.drawings)
    )
    write_durably(path, page.encode())
