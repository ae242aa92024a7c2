"""Runs a study: plan, launch what is left, and hand over what is there."""

import contextlib
import functools
import traceback
from collections.abc import Callable, Sequence

from moefacts.config import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.adopt import adopt_finished
from moefacts.experiments.estimates import Estimate
from moefacts.experiments.grid import FAILED, HALF_DONE, TO_DO, Plan, PlannedRun
from moefacts.experiments.grid_progress import GridProgress

# Starts a task once for each index, wherever it runs, and returns when all have ended.
Launch = Callable[[Sequence[int], Callable[[int], None]], None]


def runs_to_launch(plan: Plan, retry_failed: bool) -> list[PlannedRun]:
    """What is not finished; failed runs only when asked for."""
    return plan.distinct(TO_DO, HALF_DONE, *([FAILED] if retry_failed else []))


def launch_runs(plan: Plan, estimate: Estimate, launch: Launch, longest_first: bool) -> Plan:
    """Train the runs of ``estimate`` through ``launch``; return the plan with the states after it.

    What another study has finished in the meantime is taken over instead.

    A run that fails stops no other: its state says so, and its traceback is in its log.

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
            for stage in _stages(runs):
                task = functools.partial(
                    train_run, tuple(run.config for run in stage), tuple(str(run.log) for run in stage)
                )
                launch(range(len(stage)), task)
    return plan.refreshed()


def _stages(runs: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    """First the runs that others may take attention from, then those that do."""
    stages = [[run for run in runs if run.config.patching.is_on == is_patched] for is_patched in (False, True)]
    return [stage for stage in stages if stage]


def train_run(configs: Sequence[RunConfig], logs: Sequence[str], index: int) -> None:
    """Train one run, in whatever process a launcher chose; its output goes into its log."""
    config = configs[index]
    with (
        open(logs[index], "a", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        from moefacts.experiments.run import execute

        try:
            execute(config)
        except Exception:  # whatever it is, the other runs go on; the table says that this one is missing
            traceback.print_exc()
            _mark_failed(config)


def _mark_failed(config: RunConfig) -> None:
    """Say so in the manifest, also for what failed before training began."""
    from moefacts.config import run_directory
    from moefacts.training.run_directory import RunDirectory

    with contextlib.suppress(UserError), RunDirectory(run_directory(config), config) as run:
        run.update_manifest(state="failed")
