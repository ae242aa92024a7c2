"""``moefacts.load_study`` and what it returns."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from moefacts.runs import layout
from moefacts.runs.stored import read_json

_RESULTS = "results.json"
_MOST_BYTES = 1 << 28  # a study has some kilobytes for each of its runs


class _Results(TypedDict):
    study: str
    title: str
    scale: str
    complete: bool
    claims: list[dict[str, Any]]
    runs: list[dict[str, Any]]


_SCHEMA = TypeAdapter(_Results)


@dataclass(frozen=True)
class LoadedStudy:
    """The results of a study that ``moefacts reproduce`` has written.

    Attributes:
        path: the study's folder.
        results: everything in its ``results.json``.
    """

    path: Path
    results: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the study, such as ``plateau-law``."""
        return str(self.results["study"])

    @property
    def is_complete(self) -> bool:
        """Whether every run of the study's grid is in the results."""
        return bool(self.results["complete"])

    @cached_property
    def claims(self) -> pd.DataFrame:
        """One row per claim.

        The columns are ``claim``, ``published`` (what the paper says), ``here`` (what was found), ``value`` with its
        95% ``interval``, ``p_value``, ``verdict`` (holds, does not hold, cannot tell), ``rule``, which decides, and
        ``unit``, where the value has one: its ``kind`` (ratio: a natural logarithm; points: a difference of shares;
        share; number) and of what it is.
        """
        return pd.DataFrame(self.results["claims"])

    @property
    def verdicts(self) -> dict[str, str]:
        """Claim -> ``holds``, ``does not hold`` or ``cannot tell``."""
        return {claim["claim"]: claim["verdict"] for claim in self.results["claims"]}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run: its name, its place in the grid, its seed, and every measure (see docs/measures.md)."""
        return pd.json_normalize(self.results["runs"])

    @property
    def figures(self) -> dict[str, Path]:
        """Name -> PNG file of every figure; committed results have them beside ``results.json``."""
        files = [*self.path.glob("*.png"), *(self.path / layout.FIGURES).glob("*.png")]
        return {file.stem: file for file in sorted(files)}

    def write_page(self, path: str | Path) -> None:
        """Write a page like the ``report.html`` of ``moefacts reproduce``, which needs the study's runs; this does not.

        It shows claims, verdicts and figures as they were stored, in the form that pages have today.

        Args:
            path: the HTML file.
        """
        from moefacts.analysis.study_report import write_study_report  # which draw, and take long to import
        from moefacts.api.stored_page import stored_page

        write_study_report([stored_page(self.results, self.figures)], Path(path).expanduser())

    def __repr__(self) -> str:
        return f"LoadedStudy({str(self.path)!r}: {self.name}, {json.dumps(list(self.verdicts.values()))})"


def load_study(path: str | Path) -> LoadedStudy:
    """Read the results of a study.

    Args:
        path: the folder that ``moefacts reproduce`` wrote, such as ``runs/phases`` or ``results/laptop/phases``.

    Raises:
        UserError: there is no ``results.json`` in it, or it is damaged.
    """
    folder = Path(path).expanduser()
    return LoadedStudy(folder, read_json(folder / _RESULTS, "folder of a study", _SCHEMA, _MOST_BYTES))
