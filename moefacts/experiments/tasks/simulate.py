"""Run one simulation, which trains no language model, into a folder that appears when it is done."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from moefacts.experiments.tasks.toy_memories import key_value, shared_direction
from moefacts.runs import layout
from moefacts.runs.durable import FolderTaken, new_folder, write_durably
from moefacts.runs.manifest import FINISHED
from moefacts.runs.tables import RECALL
from moefacts.training.run_directory import provenance

SIMULATIONS: dict[str, Callable[[int, Mapping[str, Any]], pd.DataFrame]] = {
    "key_value": key_value,
    "shared_direction": shared_direction,
}


def simulate(name: str, seed: int, settings: Mapping[str, Any], folder: Path, command: str) -> None:
    """Run the simulation ``name`` and write its table and manifest into the new ``folder``.

    It is left to another process that is writing or has written the same folder.

    Args:
        name: one of ``SIMULATIONS``.
        seed: everything random follows from it.
        settings: what the simulation takes.
        folder: the folder; it must not exist.
        command: how to repeat it, for its manifest.
    """
    started = time.monotonic()
    try:
        with new_folder(folder) as temporary, _one_thread():
            RECALL.write(temporary, SIMULATIONS[name](seed, settings))
            seconds = round(time.monotonic() - started, 6)
            manifest = {"state": FINISHED, "command": command, "seed": seed, "settings": settings}
            manifest |= provenance("cpu") | {"wall_seconds": seconds}
            write_durably(temporary / layout.MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    except FolderTaken:
        return


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: these tensors are small, and the numbers are then the same on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
