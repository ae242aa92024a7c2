"""``moefacts.list_runs``."""

from dataclasses import fields
from pathlib import Path

import pandas as pd

from moefacts.errors import UserError
from moefacts.runs.listing import ListedRun, listed_runs
from moefacts.runs.outcome import Outcome


def list_runs(root: str | Path = "runs") -> pd.DataFrame:
    """List the runs at or below a folder, as ``moefacts list`` does.

    Args:
        root: the folder.

    Returns:
        One row per run, sorted by path: ``path``, ``state`` (running, finished, interrupted, failed, killed, damaged or
        unknown), ``step`` of the newest checkpoint, ``steps`` to be trained, ``people``, ``model`` (its preset),
        ``seed``, ``note``, which says what is wrong, and ``differs``, the settings that not all runs of its folder
        share. Of finished runs ``plateau_end`` (step), and at the end ``accuracy`` on the cohort whose plateau the run
        follows and ``unseen_loss``, as a multiple of the no-knowledge baseline.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give the one that holds the runs")
    rows = [vars(run) | vars(run.outcome) | {"path": str(run.path)} for run in listed_runs(folder)]
    own = [field.name for field in fields(ListedRun) if field.name not in ("outcome", "settings")]
    table = pd.DataFrame(rows, columns=[*own, *(field.name for field in fields(Outcome))])
    kinds = dict.fromkeys(("step", "steps", "people", "seed", "plateau_end"), "Int64")
    return table.astype(kinds | dict.fromkeys(("accuracy", "unseen_loss"), "Float64"))
