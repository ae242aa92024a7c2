"""What a study declares: the runs, what is measured, the claims, the figures. It composes runs and copies no loop."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moefacts.analysis.figures import DrawFigure
from moefacts.analysis.study_report import Table
from moefacts.experiments.engine.verdict import Claim
from moefacts.runs.reader import Run

SCALES = ("laptop", "paper")


@dataclass(frozen=True)
class GridRun:
    """One run of a grid.

    Attributes:
        overrides: Hydra overrides on top of the scale.
        expected_steps: how many steps it is likely to take when it may stop early; None: all of them.
        labels: what the study knows it by.
        needs: the runs that must be finished before it can start. They may, but need not, be in the grid themselves.
    """

    overrides: tuple[str, ...]
    expected_steps: int | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple["GridRun", ...] = ()


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of the grid.

    Attributes:
        labels: what the study knows it by.
        record: its run directory, read.
        measures: ``analysis.summary`` and parameter counts.
    """

    labels: Mapping[str, Any]
    record: Run
    measures: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Which replicate it is."""
        return self.record.seed


@dataclass(frozen=True)
class Findings:
    """What a study found in the runs that are there.

    Attributes:
        values: numbers for the top of ``results.json``.
        tables: tables for the screen and the report.
        figures: name -> (caption, a function that draws it), in the order of the report; none without data.
        evidence: what the claims' rules look at.
    """

    values: Mapping[str, Any]
    tables: Sequence[Table]
    figures: Mapping[str, tuple[str, DrawFigure]]
    evidence: Any


@dataclass(frozen=True)
class Study:
    """A study: one file in this folder.

    Attributes:
        name: as typed after ``moefacts reproduce``.
        title: one line.
        figure: where in the paper it stands.
        grids: scale -> its runs, the quick ones first.
        claims: scale -> what is decided, in the order of the table.
        examine: from the runs that are finished, few or none as they may be, to findings. It reads files only.
        probes: those of ``runs.tables.PROBES`` whose tables ``examine`` reads.
    """

    name: str
    title: str
    figure: str
    grids: Mapping[str, Sequence[GridRun]]
    claims: Mapping[str, Sequence[Claim]]
    examine: Callable[[Sequence[FinishedRun]], Findings]
    probes: tuple[str, ...] = ()
