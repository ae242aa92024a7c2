"""Groups of runs that are averaged together, and labels that say how the groups differ."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moefacts.config.differences import as_dotted, what_differs
from moefacts.config.identity import digest, identity
from moefacts.config.loader import read_config
from moefacts.config.schema import RunConfig
from moefacts.config.sections import InitConfig
from moefacts.errors import UserError
from moefacts.runs import layout
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
        described[name] = as_dotted(run.config)
    labels = what_differs(list(described.values()), but=["seed"])
    return [
        Group(label or group[0].settings.model.preset, group)
        for label, group in zip(labels, members.values(), strict=True)
    ]


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


def people_of(cohort: str) -> str:
    """A cohort as labels name it: "unseen parts people"."""
    return f"{cohort.replace('_', ' ')} people"
