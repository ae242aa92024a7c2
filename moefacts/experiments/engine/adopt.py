"""Share runs between studies: a run that a neighbouring study has finished is copied instead of trained again."""

import contextlib
import os
import shutil
from pathlib import Path

from moefacts.errors import UserError
from moefacts.experiments.engine.grid import TO_DO, Plan, PlannedRun, run_state
from moefacts.runs import layout
from moefacts.runs.durable import FolderTaken, new_folder
from moefacts.runs.fingerprint import check_population
from moefacts.runs.location import runs_of
from moefacts.runs.manifest import FINISHED, read_manifest
from moefacts.runs.temporary import is_temporary


def adopt_finished(plan: Plan) -> Plan:
    """Copy the runs of ``plan`` that have not started but are finished in a folder beside the study's.

    The same config gives the same run, whichever study asked for it and whichever version of moefacts named it.
    Checkpoints are hard-linked where the file system allows it, so that they take no extra space. Two processes may
    copy the same run at once; the first to end wins.

    Returns:
        The plan with the new states.
    """
    beside = plan.out.parent
    studies = [folder for folder in sorted(beside.iterdir()) if folder != plan.out] if beside.exists() else []
    for planned in plan.distinct(TO_DO):
        if planned.path.exists():  # killed before it had a manifest: it goes on where it is
            continue
        for other in runs_of(planned.config, *studies):
            if _is_the_same(other, planned) and _copy(other, planned.path):
                break
    return plan.refreshed()


def _is_the_same(other: Path, planned: PlannedRun) -> bool:
    if run_state(other) != FINISHED:
        return False
    try:
        check_population(other, planned.config, read_manifest(other))
    except UserError:  # its settings were edited after it was trained
        return False
    return True


def _copy(run: Path, target: Path) -> bool:
    """Copy a run without its locks; return False when it was removed meanwhile."""
    try:
        with new_folder(target, refuse_others=False) as folder:
            for path in sorted(run.rglob("*")):
                name = path.relative_to(run)
                if path.name in (layout.LOCK, layout.WRITING_LOCK) or any(map(is_temporary, name.parts)):
                    continue
                if path.is_dir():
                    (folder / name).mkdir()
                else:
                    _link_or_copy(path, folder / name)
    except FolderTaken:  # another process has copied it here, too, or has begun to train here
        return True
    except FileNotFoundError:
        return False
    return True


def _link_or_copy(source: Path, target: Path) -> None:
    if source.suffix == ".safetensors":
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
