"""Groups of runs that are averaged together, and labels that say how the groups differ."""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from moefacts.config.identity import NOT_IDENTITY, identity, is_of
from moefacts.runs.reader import Run


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
    """Put runs that differ only in ``seed`` together; label each group by the settings in which groups differ."""
    members: dict[str, list[Run]] = {}
    described: dict[str, dict[str, Any]] = {}
    for run in runs:
        same = {key: value for key, value in identity(run.settings).items() if key != "seed"}
        name = json.dumps(same, sort_keys=True)
        members.setdefault(name, []).append(run)
        described[name] = _settings(run)
    keys = sorted({key for values in described.values() for key in values} - {"seed"})
    varying = [key for key in keys if len({repr(values.get(key)) for values in described.values()}) > 1]
    if "model.preset" in varying:
        varying = [key for key in varying if not key.startswith("model.") or key == "model.preset"]
    groups = []
    for name, group in members.items():
        label = ", ".join(f"{key.rsplit('.', 1)[-1]}={described[name].get(key)}" for key in varying)
        groups.append(Group(label or group[0].settings.model.preset, group))
    return groups


def _settings(run: Run) -> dict[str, Any]:
    """The settings that determine what a run computes, as dotted keys, including those that are off."""
    flat = pd.json_normalize(run.config).iloc[0].to_dict()
    return {key: value for key, value in flat.items() if not is_of(key, NOT_IDENTITY)}
