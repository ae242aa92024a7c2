"""``moefacts.list_runs``."""

from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from moefacts.errors import UserError
from moefacts.runs.listing import ListedRun, listed_runs


def list_runs(root: str | Path = "runs") -> pd.DataFrame:
    """List the runs at or below a folder, as ``moefacts list`` does.

    Args:
        root: the folder.

    Returns:
        One row per run, sorted by path: ``path``, ``state`` (running, finished, interrupted, failed, killed, damaged or
        unknown), ``step`` of the newest checkpoint, ``steps`` to be trained, ``people``, ``model`` (its preset),
        ``seed``, and ``note``, which says what is wrong.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give the one that holds the runs")
    rows = [asdict(run) | {"path": str(run.path)} for run in listed_runs(folder)]
    table = pd.DataFrame(rows, columns=[field.name for field in fields(ListedRun)])
    return table.astype(dict.fromkeys(("step", "steps", "people", "seed"), "Int64"))
