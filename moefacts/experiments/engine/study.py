"""The declaration of a study: its runs, measures, claims and figures. Studies compose runs; they have no loop."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from moefacts.analysis.figures import DrawFigure
from moefacts.analysis.table import Table
from moefacts.experiments.engine.verdict import Claim
from moefacts.runs.reader import Run

SCALES = ("laptop", "workstation", "paper")
USUAL_SCALES = ("laptop", "paper")  # those of nearly every study


@dataclass(frozen=True)
class GridRun:
    """One run of a grid.

    Attributes:
        overrides: Hydra overrides on top of the scale.
        expected_steps: the number of steps it is likely to take if it may stop early; None means all of them.
        labels: the names and values by which the study identifies it.
        needs: the runs that must be finished before it can start; they need not be in the grid themselves.
        settings_from: given the finished runs of ``needs``, in their order, returns further overrides, which win over
            ``overrides``; it raises ``UserError`` if there can be none. Until then the run is planned without them.
    """

    overrides: tuple[str, ...]
    expected_steps: int | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple["GridRun", ...] = ()
    settings_from: Callable[[Sequence[Run]], tuple[str, ...]] | None = None


@dataclass(frozen=True)
class BestOf:
    """Takes settings from the run with the lowest final training loss, the first of equal ones (``settings_from``).

    Attributes:
        keys: the settings, as in ``training.learning_rate``.
    """

    keys: tuple[str, ...]

    def __call__(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """The overrides that set what the best of ``runs`` has."""
        best = min(runs, key=lambda run: run.final_training_loss)
        return tuple(f"{key}={functools.reduce(dict.__getitem__, key.split('.'), best.config)}" for key in self.keys)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of the grid.

    Attributes:
        labels: the names and values by which the study identifies it.
        record: the contents of its run directory.
        measures: its measures (``analysis.summary``), parameter counts and speed.
    """

    labels: Mapping[str, Any]
    record: Run
    measures: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """The seed, which numbers the replicates."""
        return self.record.seed


@dataclass(frozen=True)
class Simulation:
    """What a study simulates beside or instead of training language models.

    Attributes:
        name: which simulation it is (``tasks.simulate.SIMULATIONS``).
        seed: its seed.
        settings: what it takes, as JSON can hold it. Its folder is named by name, seed and settings.
        measure: turns its table (``runs.tables.RECALL``) into the measures of one line of ``runs.csv``.
        seconds: about how long it takes on one core of a laptop.
    """

    name: str
    seed: int
    settings: Mapping[str, Any]
    measure: Callable[[pd.DataFrame], Mapping[str, Any]]
    seconds: float


@dataclass(frozen=True)
class SimulationRecord:
    """The contents of a simulation's folder."""

    path: Path
    manifest: Mapping[str, Any]
    table: pd.DataFrame


@dataclass(frozen=True)
class FinishedSimulation:
    """A finished simulation.

    Attributes:
        labels: which simulation it is.
        record: the contents of its folder.
        measures: what ``Simulation.measure`` makes of its table, and how long it took.
        seed: the seed, which numbers the replicates.
    """

    labels: Mapping[str, Any]
    record: SimulationRecord
    measures: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Findings:
    """The findings of a study in its finished runs.

    Attributes:
        values: numbers for the top level of ``results.json``.
        tables: tables for the terminal and the report.
        figures: name -> (caption, drawing function), in the order of the report; a figure without data is left out.
        evidence: the input of the claims' rules.
    """

    values: Mapping[str, Any]
    tables: Sequence[Table]
    figures: Mapping[str, tuple[str, DrawFigure]]
    evidence: Any


@dataclass(frozen=True)
class Study:
    """A study, as the modules in ``studies`` declare it.

    Attributes:
        name: the name to type after ``moefacts reproduce``.
        title: its subject in one line.
        figure: its figure or section in the paper.
        grids: scale -> its runs, quick ones first. A study need not have every scale.
        claims: scale -> its claims, in the order of the table.
        examine: turns the finished runs, then the finished simulations, of which there may be few or none, into
            findings. It only reads files.
        probes: the probes (``runs.tables.PROBES``) whose tables ``examine`` reads.
        simulations: scale -> what it simulates, quick ones first. The scale's grid may then be empty.
        former_name: what it was called before, so that its folder may still have that name.
    """

    name: str
    title: str
    figure: str
    grids: Mapping[str, Sequence[GridRun]]
    claims: Mapping[str, Sequence[Claim]]
    examine: Callable[[Sequence[Any]], Findings]
    probes: tuple[str, ...] = ()
    simulations: Mapping[str, Sequence[Simulation]] = field(default_factory=dict)
    former_name: str = ""
