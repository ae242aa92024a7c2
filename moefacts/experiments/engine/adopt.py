"""Share runs between studies: a run that a neighbouring study has finished is copied instead of trained again."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moefacts.errors import UserError
from moefacts.experiments.engine.grid import BESIDE, TO_DO, Plan, PlannedRun, run_state
from moefacts.runs import layout
from moefacts.runs.durable import FolderTaken, new_folder
from moefacts.runs.fingerprint import check_population
from moefacts.runs.location import runs_of
from moefacts.runs.manifest import FINISHED, read_manifest
from moefacts.runs.temporary import is_temporary


def find_beside(plan: Plan) -> Plan:
    """Mark the runs of ``plan`` that have not started but are finished in a folder beside the study's.

    The same config gives the same run, whichever study asked for it and whichever version of moefacts named it.
    """
    beside = plan.out.parent
    return _find_in(
        plan, [folder for folder in sorted(beside.iterdir()) if folder != plan.out] if beside.exists() else []
    )


def adopt_finished(plan: Plan) -> Plan:
    """Copy the runs that ``find_beside`` finds, and return the plan with the new states."""
    return _adopt(find_beside(plan))


def adopt_from(plan: Plan, studies: Sequence[Path]) -> tuple[Plan, int]:
    """Copy the runs of ``plan`` that have not started but are finished in one of the folders ``studies``.

    Returns:
        The plan with the new states, and the number of runs copied.
    """
    found = _find_in(plan, studies)
    return _adopt(found), len(found.distinct(BESIDE))


def _find_in(plan: Plan, studies: Sequence[Path]) -> Plan:
    def marked(planned: PlannedRun) -> PlannedRun:
        # one that was killed before it had a manifest goes on where it is
        if planned.state not in (TO_DO, BESIDE) or planned.path.exists():
            return planned
        others = runs_of(planned.config, *studies)
        found = next((other for other in others if _is_the_same(other, planned)), None)
        return replace(planned, state=BESIDE if found else TO_DO, copied_from=found)

    runs, prerequisites = (tuple(map(marked, part)) for part in (plan.runs, plan.prerequisites))
    return replace(plan, runs=runs, prerequisites=prerequisites)


def _adopt(plan: Plan) -> Plan:
    """Copy the runs that are marked.

    Checkpoints are hard-linked where the file system allows it, so that they take no extra space. Two processes may
    copy the same run at once; the first to end wins.
    """
    for planned in plan.distinct(BESIDE):
        assert planned.copied_from is not None
        _copy(planned.copied_from, planned.path)
    return plan.refreshed()


def _is_the_same(other: Path, planned: PlannedRun) -> bool:
    if run_state(other) != FINISHED:
        return False
    try:
        check_population(other, planned.config, read_manifest(other))
    except UserError:  # its settings were edited after it was trained
        return False
    return True


def _copy(run: Path, target: Path) -> None:
    """Copy a run without its locks, unless it was removed meanwhile or another process has made the target."""
    with contextlib.suppress(FolderTaken, FileNotFoundError), new_folder(target, refuse_others=False) as folder:
        for path in sorted(run.rglob("*")):
            name = path.relative_to(run)
            if path.name in (layout.LOCK, layout.WRITING_LOCK) or any(map(is_temporary, name.parts)):
                continue
            if path.is_dir():
                (folder / name).mkdir()
            else:
                _link_or_copy(path, folder / name)


def _link_or_copy(source: Path, target: Path) -> None:
    if source.suffix == ".safetensors":
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
