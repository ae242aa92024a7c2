"""The runs below a folder, with their state, what differs between them and what they came to, for lists."""

import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moefacts.config.differences import as_dotted, what_differs
from moefacts.config.loader import read_config, read_values
from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.manifest import FINISHED, current_state, read_manifest, sha256_of, what_was_changed
from moefacts.runs.outcome import Outcome, outcome

DAMAGED, UNKNOWN = "damaged", "unknown"
_SHOWN = {
    "people": ("population.size", int),
    "model": ("model.preset", str),
    "seed": ("seed", int),
    "steps": ("training.steps", int),
}


@dataclass(frozen=True)
class ListedRun:
    """A run as a list shows it; of a damaged one, ``note`` says what is wrong and the numbers may be missing.

    Attributes:
        path: the run directory.
        state: that of its manifest, or ``killed``, ``damaged`` or ``unknown``.
        step, steps: the step of its newest checkpoint, and the number of steps that it was told to train.
        people: the number of people that training may draw from.
        model: the preset of its model.
        seed: its seed.
        note: what is wrong with it; empty if nothing is.
        differs: how its settings differ from those of the other runs in its folder; empty if they do not.
        outcome: what it came to, if it is finished.
        settings: all that determine what it computes, as dotted keys.
    """

    path: Path
    state: str
    step: int | None = None
    steps: int | None = None
    people: int | None = None
    model: str = ""
    seed: int | None = None
    note: str = ""
    differs: str = ""
    outcome: Outcome = dataclasses.field(default_factory=Outcome)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)


def listed_runs(root: Path) -> Iterator[ListedRun]:
    """Every run at or below ``root``, by path; one whose settings nobody can read is damaged.

    A folder with a ``config.yaml`` and nothing else of a run, such as one of Hydra's, is none.
    """
    folders: dict[Path, list[Path]] = {}
    for path in sorted(path.parent for path in root.rglob(layout.CONFIG) if layout.is_run_directory(path.parent)):
        folders.setdefault(path.parent, []).append(path)
    for folder in folders.values():
        runs = [describe(path) for path in folder]
        readable = [run for run in runs if run.settings]
        differences = zip(readable, what_differs([run.settings for run in readable]), strict=True)
        differs = {run.path: text for run, text in differences}
        yield from (replace(run, differs=differs.get(run.path, "")) for run in runs)


def describe(run: Path) -> ListedRun:
    """What a list shows of the run in the directory ``run``, whatever else is in its folder."""
    try:
        manifest = read_manifest(run)
        settings = _settings(run, manifest)
    except UserError as error:
        return ListedRun(run, DAMAGED, note=str(error))
    try:
        note = what_was_changed(run, manifest)
        state = DAMAGED if note else current_state(run, manifest)
    except UserError as error:
        state, note = UNKNOWN, str(error)
    step = max(layout.checkpoint_steps(run), default=0)
    shown = {name: settings[key] for name, (key, _) in _SHOWN.items()}
    ended = outcome(run, manifest, settings["evaluation.cohorts"][0]) if state == FINISHED else Outcome()
    return ListedRun(run, state, step, note=note, outcome=ended, settings=settings, **shown)


def _settings(run: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run as dotted keys. Those that training wrote need not be checked again, which takes long.

    Raises:
        UserError: they are damaged.
    """
    path = run / layout.CONFIG
    with suppress(Exception):  # whatever is wrong with the file, the last line says what
        if manifest.get("config_sha256") == sha256_of(path):
            found = as_dotted(read_values(path))
            if all(type(found[key]) is kind for key, kind in _SHOWN.values()) and found["evaluation.cohorts"]:
                return found
    return as_dotted(dataclasses.asdict(read_config(path)))
