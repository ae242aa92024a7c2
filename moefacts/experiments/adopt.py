"""Studies share runs: one that another study beside this one has finished is taken over, not trained again."""

import contextlib
import os
import shutil
from pathlib import Path

from moefacts import run_files
from moefacts.config import RunConfig, identity, read_config
from moefacts.errors import UserError
from moefacts.experiments.grid import FINISHED, TO_DO, Plan, run_state
from moefacts.folders import new_folder


def adopt_finished(plan: Plan) -> Plan:
    """Bring in every run of ``plan`` that was not begun and that a folder beside the study's holds finished.

    The same config has the same name and gives the same run, whatever study asked for it. Checkpoints are linked, where
    the file system can, so that they take no space twice.
    """
    for planned in plan.distinct(TO_DO):
        for other in sorted(plan.out.parent.glob(f"*/{planned.path.name}")):
            if other != planned.path and run_state(other) == FINISHED and _is_same_run(other, planned.config):
                _copy(other, planned.path)
                break
    return plan.refreshed()


def _is_same_run(path: Path, config: RunConfig) -> bool:
    try:
        return identity(read_config(path / run_files.CONFIG)) == identity(config)
    except UserError:
        return False


def _copy(run: Path, target: Path) -> None:
    without_lock = shutil.ignore_patterns(run_files.LOCK)
    with new_folder(target) as folder:
        shutil.copytree(run, folder, ignore=without_lock, copy_function=_link_or_copy, dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
