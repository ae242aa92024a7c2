"""Share runs between studies: a run that a neighbouring study has finished is copied instead of trained again."""

import contextlib
import os
import shutil
from pathlib import Path

from moefacts.experiments.engine.grid import TO_DO, Plan, run_state
from moefacts.runs import layout
from moefacts.runs.durable import new_folder
from moefacts.runs.location import runs_of
from moefacts.runs.manifest import FINISHED


def adopt_finished(plan: Plan) -> Plan:
    """Copy the runs of ``plan`` that have not started but are finished in a folder beside the study's.

    The same config gives the same run, whichever study asked for it and whichever version of moefacts named it.
    Checkpoints are hard-linked where the file system allows it, so that they take no extra space.

    Returns:
        The plan with the new states.
    """
    beside = plan.out.parent
    studies = [folder for folder in sorted(beside.iterdir()) if folder != plan.out] if beside.exists() else []
    for planned in plan.distinct(TO_DO):
        if planned.path.exists():  # killed before it had a manifest: it goes on where it is
            continue
        for other in runs_of(planned.config, *studies):
            if run_state(other) == FINISHED:
                _copy(other, planned.path)
                break
    return plan.refreshed()


def _copy(run: Path, target: Path) -> None:
    without_lock = shutil.ignore_patterns(layout.LOCK)
    with new_folder(target) as folder:
        shutil.copytree(run, folder, ignore=without_lock, copy_function=_link_or_copy, dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
