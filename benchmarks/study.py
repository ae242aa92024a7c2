"""Where the time of a whole study goes: training steps, evaluation, starting runs, checkpoints, probes, the report.

The runs of a study's first seed are made one after the other in this process, in a temporary folder, with all that
``moefacts reproduce`` does with them. Times are computing time. What starting a run costs a process of its own (Python
and imports) is measured in one, and counted once for every process that a study starts.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.setting import Result, Row, Setting
from benchmarks.timing import clock
from moefacts.experiments.engine import grid, results
from moefacts.experiments.engine.study import Study
from moefacts.experiments.studies import finetune, plateau_law
from moefacts.experiments.tasks import probe, train
from moefacts.runs.manifest import FINISHED
from moefacts.runs.reader import read_run
from moefacts.training import loop

SCALE = "laptop"
EVALUATION_GOAL, REST_GOAL = 0.1, 0.05
STEPS, EVALUATION, START, CHECKPOINTS, PROBES, REPORT, REST = (
    "training steps", "evaluation", "starting runs", "checkpoints", "probes", "report", "all else"
)  # fmt: skip
# Part -> the functions whose time it is; that of a part inside another counts for the inner one only.
_TIMED: dict[str, tuple[tuple[Any, str], ...]] = {
    STEPS: ((loop.Trainer, "_step"),),
    EVALUATION: ((loop.Trainer, "_evaluate"), (train, "confidence_table")),
    START: ((train, "prepare"), (train, "load_initial_weights"), (loop.Trainer, "__init__")),
    CHECKPOINTS: ((loop, "save_checkpoint"), (loop, "prune_checkpoints")),
}


def first_seed(study: Study) -> Study:
    """The study with the runs of one seed at every size."""
    seeds: dict[Any, int] = {}
    kept = []
    for run in study.grids[SCALE]:
        (seed,) = (one for one in run.overrides if one.startswith("seed="))
        if seed == seeds.setdefault(run.labels.get("size"), seed):
            kept.append(run)
    return replace(study, grids={SCALE: kept})


class Split:
    """Adds up the seconds of the parts, each without the parts that it calls."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys([*_TIMED, PROBES, REPORT], 0.0)
        self._inside: list[float] = []

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """A context whose seconds belong to ``part``."""
        self._inside.append(0.0)
        started = clock()
        try:
            yield
        finally:
            spent = clock() - started
            self.seconds[part] += spent - self._inside.pop()
            if self._inside:
                self._inside[-1] += spent

    def timed(self, part: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its seconds added to ``part``."""

        def run(*arguments: Any, **options: Any) -> Any:
            with self.of(part):
                return original(*arguments, **options)

        return run


def split_of(study: Study, overrides: Sequence[str]) -> Result:
    """Make the study's runs and return the seconds of every part."""
    split, started = Split(), clock()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        for part, functions in _TIMED.items():
            for owner, function in functions:
                stack.enter_context(patch.object(owner, function, split.timed(part, getattr(owner, function))))
        plan = grid.make_plan(study, SCALE, overrides, Path(name) / study.name, Path(name))
        while ready := plan.distinct(grid.TO_DO, grid.HALF_DONE):  # others need these first
            for run in ready:
                train.execute(run.config)
            plan = plan.refreshed()
        with split.of(PROBES):
            for run in plan.runs:
                if study.probes:
                    probe.probe_run(read_run(run.path), *study.probes)
        with split.of(REPORT):
            results.write_results(plan)
    total = clock() - started
    seconds = split.seconds | {REST: total - sum(split.seconds.values())}
    return {"runs": len(plan.distinct(FINISHED)), "seconds": seconds, "total_seconds": total}


def start_of_a_process() -> float:
    """The computing time in seconds of a Python that imports what training a run needs, and does nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import moefacts.experiments.tasks.train"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(setting: Setting, studies: Sequence[Study] = (plateau_law.STUDY, finetune.STUDY)) -> Result:
    """Split the time of every study; ``rounds`` does not matter."""
    result: Result = {study.name: split_of(first_seed(study), setting.overrides) for study in studies}
    return result | {"seconds_to_start_a_process": start_of_a_process()}


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    table = []
    for name, found in result.items():
        if not isinstance(found, dict) or "total_seconds" not in found:
            continue
        total = found["total_seconds"]
        shares = {part: seconds / total for part, seconds in found["seconds"].items()}
        table.append(Row(f"{name}: one seed, {found['runs']} runs", f"{total:.0f} s"))
        for part, share in shares.items():
            goal = (f"< {EVALUATION_GOAL:.0%}", share < EVALUATION_GOAL) if part == EVALUATION else ("", None)
            table.append(Row(f"{name}: {part}", f"{share:.1%}", *goal))
        others = 1 - shares[STEPS] - shares[EVALUATION]
        table.append(
            Row(f"{name}: all but steps and evaluation", f"{others:.1%}", f"< {REST_GOAL:.0%}", others < REST_GOAL)
        )
    table.append(Row("starting Python for training", f"{result['seconds_to_start_a_process']:.1f} s"))
    return table
