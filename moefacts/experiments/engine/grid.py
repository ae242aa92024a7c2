"""A study's grid as runs with configurations, directories and states."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moefacts.config.presets import compose
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.engine.study import GridRun, Study
from moefacts.runs import layout
from moefacts.runs.location import run_directory
from moefacts.runs.manifest import FAILED, INTERRUPTED, KILLED, RUNNING, current_state, read_manifest

TO_DO, HALF_DONE, ELSEWHERE = "to do", "half done", "running elsewhere"  # beside FINISHED and FAILED
_LOGS = "logs"
_LONGEST_NAME = 120


@dataclass(frozen=True)
class PlannedRun:
    """A run of a grid, its configuration, and how far it is."""

    grid_run: GridRun
    config: RunConfig
    path: Path
    state: str
    needs: tuple[Path, ...] = ()  # the directories of the runs that must be finished before

    @property
    def expected_steps(self) -> int:
        """How many steps it is likely to take."""
        steps = self.config.training.steps
        return steps if self.grid_run.expected_steps is None else min(steps, self.grid_run.expected_steps)

    @property
    def log(self) -> Path:
        """Where its progress lines and, when it fails, its traceback go."""
        return self.path.parent / _LOGS / f"{self.path.name}.log"


@dataclass(frozen=True)
class Plan:
    """A study at one scale with the user's overrides, in the folder ``out``."""

    study: Study
    scale: str
    overrides: tuple[str, ...]
    out: Path
    runs: tuple[PlannedRun, ...]  # in the order of the grid; one directory may serve several places of the grid
    prerequisites: tuple[PlannedRun, ...] = ()  # what these need; trained, but not examined

    def distinct(self, *states: str) -> list[PlannedRun]:
        """The runs and prerequisites in one of ``states`` (all, when none is given), each directory once."""
        once = {run.path: run for run in (*self.prerequisites, *self.runs)}
        return [run for run in once.values() if not states or run.state in states]

    def varied_labels(self) -> dict[Path, str]:
        """What tells the runs apart, in the study's words; of a run at several places of the grid all of them."""
        labels = [
            {key: value for key, value in run.grid_run.labels.items() if isinstance(value, (str, int, float))}
            for run in self.runs
        ]
        common = set.intersection(*(set(items.items()) for items in labels))
        texts: dict[Path, list[str]] = {}
        for run, items in zip(self.runs, labels, strict=True):
            text = ", ".join(f"{key} {value}" for key, value in items.items() if (key, value) not in common)
            texts.setdefault(run.path, []).append(text)
        return {path: "; ".join(dict.fromkeys(places)) for path, places in texts.items()}

    def refreshed(self) -> "Plan":
        """The same plan with the states that the run directories have now."""
        runs, prerequisites = (
            tuple(replace(run, state=run_state(run.path)) for run in part) for part in (self.runs, self.prerequisites)
        )
        return replace(self, runs=runs, prerequisites=prerequisites)


def make_plan(study: Study, scale: str, overrides: Sequence[str], out: Path | None, root: Path) -> Plan:
    """Compose every run of a study's grid.

    Args:
        study: the study.
        scale: which of its grids.
        overrides: the user's, which have the last word.
        out: where its runs and results are kept; None: a folder below ``root`` named by study, scale and overrides.
        root: see ``out``.

    Raises:
        UserError: an override is wrong, or sets what the study varies.
    """
    grid = study.grids[scale]
    _refuse_varied(study, grid, overrides)
    folder = (out or root / default_name(study, scale, overrides)).resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {out} is a file; it must be a folder")
    if Path.cwd() in folder.parents:
        folder = folder.relative_to(Path.cwd())
    where = [f"run.root={_quoted(folder.parent)}", f"run.study={_quoted(folder.name)}"]
    prerequisites: list[PlannedRun] = []

    def planned(grid_run: GridRun) -> PlannedRun:
        needed = [planned(one) for one in grid_run.needs]
        prerequisites.extend(needed)
        config = compose([f"scale={scale}", *grid_run.overrides, *overrides, *where])
        path = run_directory(config)
        return PlannedRun(grid_run, config, path, run_state(path), tuple(run.path for run in needed))

    runs = tuple(planned(grid_run) for grid_run in grid)
    return Plan(study, scale, tuple(overrides), folder, runs, tuple(prerequisites))


def default_name(study: Study, scale: str, overrides: Sequence[str]) -> str:
    """The folder of a study below the root; other settings have another folder."""
    parts = [study.name] if scale == "laptop" else [study.name, scale]
    for override in overrides:
        key, _, value = override.partition("=")
        leaf = key.rsplit(".", 1)[-1]
        parts.append((value if key == "model" else f"{leaf}={value}").replace("/", "_"))
    name = "-".join(parts)
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"  # file systems allow 255 bytes


def run_state(path: Path) -> str:
    """How far the run in ``path`` is; what was killed is half done, what cannot be read has failed."""
    if not (path / layout.MANIFEST).exists():
        return TO_DO
    try:
        state = current_state(path, read_manifest(path))
    except UserError:
        return FAILED
    return {RUNNING: ELSEWHERE, KILLED: HALF_DONE, INTERRUPTED: HALF_DONE}.get(state, state)


def _refuse_varied(study: Study, grid: Sequence[GridRun], overrides: Sequence[str]) -> None:
    varied = {_key(override) for run in grid for override in run.overrides}
    varied -= {_key(o) for o in set.intersection(*(set(run.overrides) for run in grid))}  # fixed is not varied
    for override in overrides:
        key = _key(override)
        if override.startswith("-"):
            raise UserError(f"there is no option {override}; see moefacts reproduce --help")
        if key in varied:
            raise UserError(f"{key} is what the study {study.name} varies; leave {override} out")
        if key.startswith("run.") or key == "scale":
            raise UserError(f"{override}: give --{'scale' if key == 'scale' else 'out'} instead")


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _quoted(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
