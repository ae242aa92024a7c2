"""A study's grid as a plan: runs with their configurations, directories and states.

A run may take settings from others that it needs, such as the best of several learning rates. It is planned without
them, so that its time can be estimated, and is undecided until the others are finished. Then it gets its configuration
and its directory, or it turns out that the others do not allow a decision.
"""

import functools
import hashlib
import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moefacts.config.fields import config_keys
from moefacts.config.overrides import quoted
from moefacts.config.preset_files import GROUPS
from moefacts.config.presets import compose
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.engine.study import GridRun, Study
from moefacts.runs import layout
from moefacts.runs.location import run_directory
from moefacts.runs.manifest import FAILED, FINISHED, INTERRUPTED, KILLED, RUNNING, current_state, read_manifest
from moefacts.runs.reader import Run, read_run

TO_DO, HALF_DONE, ELSEWHERE = "to do", "half done", "running elsewhere"  # beside FINISHED and FAILED
BESIDE = "finished in another study"  # and copied from there when this one starts
UNDECIDED = "undecided"  # the run takes settings from runs that are not all finished
UNDECIDABLE = "cannot be decided"  # they are finished, but give it no settings
LOGS = "logs"
_LONGEST_PART = 255  # bytes of a name that file systems allow
_LONGEST_NAME = 120  # bytes, to which a digest may be added
_LEAVES = Counter(key.rpartition(".")[2] for key in (*config_keys(RunConfig), *GROUPS))
_PLAIN = re.compile(r"[\w.+~]+(=[^-=]*|=-?[\d.][\d.e+-]*)?", re.ASCII)  # beside a number's, it has no "-" or second "="


@dataclass(frozen=True)
class PlannedRun:
    """A run of a grid, with its configuration, directory and state."""

    grid_run: GridRun
    config: RunConfig
    path: Path
    state: str
    needs: tuple[Path, ...] = ()  # the directories of the runs that must be finished first
    reason: str = ""  # why its settings cannot be decided
    copied_from: Path | None = None  # the run of another study, if its state is BESIDE

    @property
    def expected_steps(self) -> int:
        """The number of steps that the run is likely to take."""
        steps = self.config.training.steps
        return steps if self.grid_run.expected_steps is None else min(steps, self.grid_run.expected_steps)

    @property
    def log(self) -> Path:
        """The file for the run's progress lines and, if it fails, its traceback."""
        return self.path.parent / LOGS / f"{self.path.name}.log"


@dataclass(frozen=True)
class Plan:
    """The runs of a study at one scale, with the user's overrides, in the folder ``out``."""

    study: Study
    scale: str
    overrides: tuple[str, ...]
    out: Path
    runs: tuple[PlannedRun, ...]  # in the order of the grid; several places of the grid may share a directory
    prerequisites: tuple[PlannedRun, ...] = ()  # the runs that ``runs`` need; they are trained but not examined

    def distinct(self, *states: str) -> list[PlannedRun]:
        """The runs and prerequisites in one of ``states`` (in any, if none is given), each directory once."""
        once = {run.path: run for run in (*self.prerequisites, *self.runs)}
        return [run for run in once.values() if not states or run.state in states]

    def varied_labels(self) -> dict[Path, str]:
        """Directory -> how its run differs from the others, in the study's labels, for all its places in the grid."""
        labels = [
            {key: value for key, value in run.grid_run.labels.items() if isinstance(value, (str, int, float))}
            for run in self.runs
        ]
        common = set.intersection(*(set(items.items()) for items in labels)) if labels else set()
        texts: dict[Path, list[str]] = {}
        for run, items in zip(self.runs, labels, strict=True):
            text = ", ".join(f"{key} {value}" for key, value in items.items() if (key, value) not in common)
            texts.setdefault(run.path, []).append(text)
        return {path: "; ".join(dict.fromkeys(places)) for path, places in texts.items()}

    def refreshed(self) -> "Plan":
        """The same plan with the current states of the run directories, and with the choices that they allow."""
        runs, prerequisites = (tuple(_refreshed(run) for run in part) for part in (self.runs, self.prerequisites))
        plan = replace(self, runs=runs, prerequisites=prerequisites)
        finished = {run.path for run in plan.distinct(FINISHED)}
        if any(finished.issuperset(run.needs) for run in plan.distinct(UNDECIDED)):
            return make_plan(self.study, self.scale, self.overrides, self.out, self.out.parent)
        return plan


def make_plan(study: Study, scale: str, overrides: Sequence[str], out: Path | None, root: Path) -> Plan:
    """Compose every run of a study's grid.

    Args:
        study: the study.
        scale: selects one of the study's grids.
        overrides: the user's overrides, which take precedence over the study's.
        out: the folder for runs and results; None means ``default_folder``.
        root: the parent of the default folder.

    Raises:
        UserError: an override is wrong, or sets what the study varies.
    """
    grid = study.grids[scale]
    _refuse_varied(study, grid, overrides)
    folder = (out or default_folder(study, scale, overrides, root)).resolve()
    if any(len(os.fsencode(part)) > _LONGEST_PART for part in folder.parts):
        raise UserError(f"--out {out} is too long; file systems allow {_LONGEST_PART} bytes for a folder's name")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {out} is a file; it must be a folder")
    if Path.cwd() in folder.parents:
        folder = folder.relative_to(Path.cwd())
    where = [f"run.root={quoted(str(folder.parent))}", f"run.study={quoted(folder.name)}"]
    prerequisites: list[PlannedRun] = []
    composed = functools.cache(lambda *of_run: compose([f"scale={scale}", *of_run, *overrides, *where]))

    read = functools.cache(read_run)

    def planned(grid_run: GridRun) -> PlannedRun:
        needed = [planned(one) for one in grid_run.needs]
        prerequisites.extend(needed)
        settings, state, reason = _settings(grid_run, needed, read)
        config = composed(*grid_run.overrides, *settings)
        path = run_directory(config)
        if state:  # it has no directory yet
            after = hashlib.sha256(json.dumps([run.path.name for run in needed]).encode()).hexdigest()[:4]
            path = path.with_name(f"{path.name}-after-{after}-{UNDECIDED}")
        return PlannedRun(grid_run, config, path, state or run_state(path), tuple(run.path for run in needed), reason)

    runs = tuple(planned(grid_run) for grid_run in grid)
    return Plan(study, scale, tuple(overrides), folder, runs, tuple(prerequisites))


def _settings(
    grid_run: GridRun, needed: Sequence[PlannedRun], read: Callable[[Path], Run]
) -> tuple[tuple[str, ...], str, str]:
    """The overrides that follow from the needed runs, or else the state that the run has without them, and why."""
    if grid_run.settings_from is None:
        return (), "", ""
    if any(run.state != FINISHED for run in needed):
        return (), UNDECIDED, ""
    try:
        return grid_run.settings_from([read(run.path) for run in needed]), "", ""
    except UserError as error:  # also if a needed run is damaged
        return (), UNDECIDABLE, str(error)


def _refreshed(run: PlannedRun) -> PlannedRun:
    return run if run.state in (UNDECIDED, UNDECIDABLE) else replace(run, state=run_state(run.path), copied_from=None)


def default_folder(study: Study, scale: str, overrides: Sequence[str], root: Path) -> Path:
    """Where a study is kept below ``root``: under its name, or its former name if there is a folder of that alone."""
    folder = root / default_name(study, scale, overrides)
    former = root / default_name(replace(study, name=study.former_name or study.name), scale, overrides)
    return former if former.is_dir() and not folder.exists() else folder


def default_name(study: Study, scale: str, overrides: Sequence[str]) -> str:
    """The name of a study's folder, which no other study, scale or overrides have, in at most 255 bytes.

    An override is written with the last part of its key if no other setting has the same, else with the whole key.
    Whatever is not written as it is given is distinguished by a digest of everything.
    """
    parts = [study.name] if scale == "laptop" else [study.name, scale]
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        leaf = key.rpartition(".")[2]
        parts.append(value if key == "model" else f"{leaf if _LEAVES[leaf] == 1 else key}={value}")
    name = "-".join(parts)
    cut = name.replace("/", "_").encode()[:_LONGEST_NAME].decode(errors="ignore")
    if cut == name and all(_PLAIN.fullmatch(override) for override in overrides):
        return name
    told = json.dumps([study.name, scale, *overrides])  # "-" and "=" in values would leave the name ambiguous
    return f"{cut}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def study_command(plan: Plan) -> str:
    """The command that repeats the study."""
    return shlex.join(["moefacts", "reproduce", plan.study.name, "--scale", plan.scale, *plan.overrides])


def run_state(path: Path) -> str:
    """The state of the run in ``path``: a killed run is half done, and one that cannot be read has failed.

    A run that says it is running counts as such where no lock can tell whether it was killed.
    """
    if not (path / layout.MANIFEST).exists():
        return TO_DO
    try:
        manifest = read_manifest(path)
    except UserError:
        return FAILED
    try:
        state = current_state(path, manifest)
    except UserError:
        return ELSEWHERE
    return {RUNNING: ELSEWHERE, KILLED: HALF_DONE, INTERRUPTED: HALF_DONE}.get(state, state)


def _refuse_varied(study: Study, grid: Sequence[GridRun], overrides: Sequence[str]) -> None:
    if overrides and not grid:
        raise UserError(
            f"the study {study.name} trains no language model, so it has no settings; leave out {overrides[0]}"
        )
    settings = [set(run.overrides) for run in _with_needs(grid)] or [set()]
    everywhere = settings[0].intersection(*settings)
    varied = {_key(override) for override in settings[0].union(*settings) - everywhere}
    for override in overrides:
        key = _key(override)
        if override.startswith("-"):
            raise UserError(f"there is no option {override}; see moefacts reproduce --help")
        for setting in sorted(varied):
            if _sets(key, setting):
                raise UserError(f"the study {study.name} varies {setting} itself; leave out {override}")
        if key.partition(".")[0] == "run" or key == "scale":
            raise UserError(f"{override} cannot be an override; use --{'scale' if key == 'scale' else 'out'} instead")


def _with_needs(grid: Sequence[GridRun]) -> Iterator[GridRun]:
    for run in grid:
        yield run
        yield from _with_needs(run.needs)


def _sets(key: str, setting: str) -> bool:
    """Whether an override of ``key`` sets ``setting``: itself, or in a section, as ``population={size:3}`` does."""
    return setting == key or (key not in GROUPS and setting.startswith(f"{key}."))


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
