"""The runs below a folder, with their state, for lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moefacts.config.loader import read_config
from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.manifest import current_state, read_manifest, what_was_changed

DAMAGED, UNKNOWN = "damaged", "unknown"


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
    """

    path: Path
    state: str
    step: int | None = None
    steps: int | None = None
    people: int | None = None
    model: str = ""
    seed: int | None = None
    note: str = ""


def listed_runs(root: Path) -> Iterator[ListedRun]:
    """Every run at or below ``root``, by path; settings that nobody can read belong to a damaged one."""
    for path in sorted(path.parent for path in root.rglob(layout.CONFIG)):
        yield describe(path)


def describe(run: Path) -> ListedRun:
    """What a list shows of the run in the directory ``run``."""
    try:
        config = read_config(run / layout.CONFIG)
        manifest = read_manifest(run)
    except UserError as error:
        return ListedRun(run, DAMAGED, note=str(error))
    try:
        note = what_was_changed(run, manifest)
        state = DAMAGED if note else current_state(run, manifest)
    except UserError as error:
        state, note = UNKNOWN, str(error)
    step = max(layout.checkpoint_steps(run), default=0)
    people, model = config.population.size, config.model.preset
    return ListedRun(run, state, step, config.training.steps, people, model, config.seed, note)
