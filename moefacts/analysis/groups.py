"""Groups of runs that are averaged together, and labels that say how the groups differ."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from moefacts.config.identity import NOT_IDENTITY, digest, identity, is_of
from moefacts.config.loader import read_config
from moefacts.config.schema import RunConfig
from moefacts.config.sections import InitConfig
from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.reader import Run

_PRESET = "model.preset"
_UNLABELLED = ("init", "population.cohorts", "evaluation.cohorts")


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed; ``label`` says how they differ from the other groups."""

    label: str
    runs: list[Run]

    @property
    def drawn_label(self) -> str:
        """The label as matplotlib takes it; it would read text between two $ as a formula."""
        return self.label.replace("$", r"\$")


def choose_runs(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """The runs that can be averaged, and one line about each run that is left out.

    Copies of a run are left out, because they add nothing to an interval. So are unfinished runs when others are
    finished.
    """
    chosen: dict[str, Run] = {}
    notes = []
    some_finished = any(run.is_finished for run in runs)
    for run in runs:
        name = json.dumps(identity(run.settings), sort_keys=True)
        if some_finished and not run.is_finished:
            notes.append(f"{run.path} is not finished ({run.manifest['state']}) and is left out")
        elif name in chosen:
            notes.append(f"{run.path} is the same run as {chosen[name].path} and is left out")
        else:
            chosen[name] = run
    return list(chosen.values()), notes


def group_by_seed(runs: list[Run]) -> list[Group]:
    """Put runs that differ only in ``seed`` together; label each group by the settings in which groups differ.

    Fine-tuned runs differ only in their seed if this is also true of the runs that they started from, which must still
    be where they were. What they started from, and which cohorts there are, is in a label only if groups would be
    labelled alike without it.
    """
    members: dict[str, list[Run]] = {}
    described: dict[str, dict[str, Any]] = {}
    for run in runs:
        name = json.dumps(_without_seed(run.settings), sort_keys=True)
        members.setdefault(name, []).append(run)
        described[name] = _settings(run)
    keys = sorted({key for values in described.values() for key in values} - {"seed"})
    varying = [key for key in keys if len({repr(values.get(key)) for values in described.values()}) > 1]
    others = [key for key in varying if not is_of(key, _UNLABELLED)]
    if len({repr([values.get(key) for key in others]) for values in described.values()}) == len(described):
        varying = others
    return [
        Group(_label(described[name], varying, list(described.values())) or group[0].settings.model.preset, group)
        for name, group in members.items()
    ]


def _label(own: dict[str, Any], varying: list[str], described: list[dict[str, Any]]) -> str:
    """The settings of ``varying`` as words. Beside a preset, what follows from it and what is off is not said."""
    alike = [other for other in described if other[_PRESET] == own[_PRESET]]

    def is_said(key: str) -> bool:
        if key == _PRESET or _PRESET not in varying or not is_of(key, ["model"]):
            return True
        return bool(own.get(key)) and len({repr(other.get(key)) for other in alike}) > 1

    said = sorted(filter(is_said, varying), key=lambda key: key != _PRESET)
    return ", ".join(f"{key.rsplit('.', 1)[-1]}={own.get(key)}" for key in said)


def _without_seed(settings: RunConfig) -> dict[str, Any]:
    """The identity of a run without its seed, and without that of the run that it started from."""
    same = {key: value for key, value in identity(settings).items() if key != "seed"}
    if settings.init.is_on:
        same["init"] |= _source(settings.init)
    return same


def _source(init: InitConfig) -> dict[str, Any]:
    """What replaces ``init.source`` and ``init.step``: the other run's settings, and "last" for its last checkpoint.

    Nothing if the other run is no longer there.
    """
    assert init.run is not None
    path = Path(init.run)
    try:
        source = read_config(path / layout.CONFIG)
    except UserError:
        return {}
    if digest(source) != init.source:
        return {}
    is_last = layout.checkpoint_steps(path)[-1:] == [init.step]
    return {"source": _without_seed(source)} | ({"step": "last"} if is_last else {})


def _settings(run: Run) -> dict[str, Any]:
    """The settings that determine what a run computes, as dotted keys, including those that are off."""
    flat = pd.json_normalize(run.config).iloc[0].to_dict()
    return {key: value for key, value in flat.items() if not is_of(key, NOT_IDENTITY)}
