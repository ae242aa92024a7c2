"""Runs what is left of a study's plan, each run after those that it needs, and the probes that its figures read."""

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.engine.adopt import adopt_finished
from moefacts.experiments.engine.estimates import Estimate
from moefacts.experiments.engine.grid import HALF_DONE, TO_DO, Plan, PlannedRun
from moefacts.experiments.engine.grid_progress import GridProgress
from moefacts.runs.manifest import FAILED, FINISHED
from moefacts.runs.reader import read_run

# Starts a task once for each index, wherever it runs, and returns when all have ended.
Launch = Callable[[Sequence[int], Callable[[int], None]], None]


def runs_to_launch(plan: Plan, retry_failed: bool) -> list[PlannedRun]:
    """What is not finished; failed runs only when asked for."""
    return plan.distinct(TO_DO, HALF_DONE, *([FAILED] if retry_failed else []))


def launch_runs(plan: Plan, estimate: Estimate, launch: Launch, longest_first: bool) -> Plan:
    """Train the runs of ``estimate`` through ``launch``, then probe; return the plan with the states after it.

    What another study has finished in the meantime is taken over instead.

    A run that fails stops no other but those that need it: its state says so, and its traceback is in its log.

    Raises:
        Interrupted: a signal came; the runs in progress have saved their state.
    """
    plan = adopt_finished(plan)
    estimate = estimate.of_runs([run.path for run in runs_to_launch(plan, retry_failed=True)])
    runs = [run for run, _ in sorted(estimate.seconds, key=lambda pair: -pair[1] if longest_first else 0)]
    if runs:
        for run in runs:
            run.log.parent.mkdir(parents=True, exist_ok=True)
        with GridProgress(plan, estimate):
            for stage in stages(runs):
                finished = {run.path for run in plan.refreshed().distinct(FINISHED)}
                ready = [run for run in stage if finished.issuperset(run.needs)]
                if ready:
                    task = functools.partial(_train_run, [run.config for run in ready], [str(run.log) for run in ready])
                    launch(range(len(ready)), task)
    plan = plan.refreshed()
    _probe(plan, launch)
    return plan


def stages(runs: Sequence[PlannedRun]) -> Iterator[list[PlannedRun]]:
    """The runs in groups, in each those whose needs are in none of the groups that are left."""
    left = list(runs)
    while left:
        waiting = {run.path for run in left}
        ready = [run for run in left if waiting.isdisjoint(run.needs)]
        assert ready, "runs need each other"
        yield ready
        left = [run for run in left if run not in ready]


def _train_run(configs: Sequence[RunConfig], logs: Sequence[str], index: int) -> None:
    """Train one run, in whatever process a launcher chose; its output goes into its log."""
    config = configs[index]
    with _output_into(logs[index]):
        from moefacts.experiments.tasks.train import execute

        try:
            execute(config)
        except Exception:  # whatever it is, the other runs go on; the table says that this one is missing
            traceback.print_exc()
            _mark_failed(config)


def _mark_failed(config: RunConfig) -> None:
    """Say so in the manifest, also for what failed before training began."""
    from moefacts.runs.location import run_directory
    from moefacts.training.run_directory import RunDirectory

    with contextlib.suppress(UserError), RunDirectory(run_directory(config), config) as run:
        run.update_manifest(state="failed")


def _probe(plan: Plan, launch: Launch) -> None:
    """Write the probe tables that the study reads, where a finished run lacks them."""
    runs = [run for run in plan.distinct(FINISHED) if plan.study.probes and _lacks_probes(plan, run)]
    if runs:
        print(f"{plan.study.name}: probing {len(runs)} runs for {' and '.join(plan.study.probes)}", file=sys.stderr)
        paths = [str(run.path) for run in runs]
        launch(range(len(runs)), functools.partial(_probe_run, plan.study.probes, paths, [str(r.log) for r in runs]))


def _lacks_probes(plan: Plan, run: PlannedRun) -> bool:
    try:
        return not set(plan.study.probes).isdisjoint(read_run(run.path).missing_probes)
    except UserError:
        return False  # damaged: the table of results says so


def _probe_run(probes: Sequence[str], paths: Sequence[str], logs: Sequence[str], index: int) -> None:
    """Probe one run, in whatever process a launcher chose."""
    with _output_into(logs[index]):
        from moefacts.experiments.tasks.probe import probe_run

        try:
            probe_run(read_run(Path(paths[index])), *probes)
        except Exception:  # the study's table says that the run has not been probed
            traceback.print_exc()


@contextlib.contextmanager
def _output_into(log: str) -> Iterator[None]:
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "a", encoding="utf-8", buffering=1) as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield
