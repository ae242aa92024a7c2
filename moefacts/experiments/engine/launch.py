"""Run the rest of a study's plan: each run after those that it needs, the probes that the study reads, simulations."""

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moefacts.config.schema import RunConfig
from moefacts.errors import UserError, is_full_disk
from moefacts.experiments.engine.adopt import adopt_finished
from moefacts.experiments.engine.estimates import Estimate
from moefacts.experiments.engine.grid import ELSEWHERE, HALF_DONE, TO_DO, UNDECIDED, Plan, PlannedRun, study_command
from moefacts.experiments.engine.grid_progress import GridProgress
from moefacts.experiments.engine.simulations import planned_simulations
from moefacts.runs.locks import BeingTrained
from moefacts.runs.manifest import FAILED, FINISHED, INTERRUPTED
from moefacts.runs.reader import read_run

# Calls a task once for each index, in whatever process, and returns when all calls have ended.
Launch = Callable[[Sequence[int], Callable[[int], None]], None]


def runs_to_launch(plan: Plan, retry_failed: bool) -> list[PlannedRun]:
    """The runs that are not finished, undecided ones too; failed runs are included only if ``retry_failed``."""
    return plan.distinct(TO_DO, HALF_DONE, UNDECIDED, *([FAILED] if retry_failed else []))


def launch_runs(plan: Plan, estimate: Estimate, launch: Launch, longest_first: bool) -> Plan:
    """Train the runs of ``estimate`` through ``launch``, probe them, and return the plan with their new states.

    Runs that another study has finished in the meantime are copied instead. A run that fails stops only those that
    need it. Its state then is "failed", and its traceback is in its log. Undecided runs follow once their settings can
    be chosen.

    Raises:
        Interrupted: a signal was received; the runs in progress have saved their state.
    """
    plan = _train_all(adopt_finished(plan), estimate, launch, longest_first)
    _probe(plan, launch)
    _simulate(plan, launch)
    return plan


def _train_all(plan: Plan, estimate: Estimate, launch: Launch, longest_first: bool) -> Plan:
    """Train the runs whose settings are known, then those whose settings can be chosen by now, and so on."""
    estimate = estimate.of_runs(runs_to_launch(plan, retry_failed=True))
    in_order = sorted(estimate.seconds, key=lambda pair: -pair[1] if longest_first else 0)
    runs = [run for run, _ in in_order if run.state != UNDECIDED]
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
    undecided = [run.grid_run for run in plan.distinct(UNDECIDED)]
    plan = plan.refreshed()
    decided = [run for run in plan.distinct(TO_DO, HALF_DONE) if run.grid_run in undecided]
    return _train_all(adopt_finished(plan), estimate.of_runs(decided), launch, longest_first) if decided else plan


def stages(runs: Sequence[PlannedRun]) -> Iterator[list[PlannedRun]]:
    """Yield the runs in groups, so that every run comes in a later group than the runs that it needs."""
    left = list(runs)
    while left:
        waiting = {run.path for run in left}
        ready = [run for run in left if waiting.isdisjoint(run.needs)]
        assert ready, "runs need each other"
        yield ready
        left = [run for run in left if run not in ready]


def _train_run(configs: Sequence[RunConfig], logs: Sequence[str], index: int) -> None:
    """Train one run in the process that a launcher chose; its output goes to its log."""
    config = configs[index]
    with _output_into(logs[index]):
        from moefacts.experiments.tasks.train import execute

        try:
            execute(config)
        except BeingTrained as error:  # the results say so
            print(f"moefacts: {error}", file=sys.stderr)
        except Exception as error:  # no failure may stop the other runs; the results list this one as missing
            traceback.print_exc()
            _mark_failed(config, INTERRUPTED if is_full_disk(error) else FAILED)


def _mark_failed(config: RunConfig, state: str) -> None:
    """Record in the manifest how the run ended, even if this was before training began. The log has it in any case.

    A run that had no space is interrupted: it goes on when there is some. Another process may have finished the run.
    """
    from moefacts.runs.location import run_directory
    from moefacts.training.run_directory import RunDirectory

    with contextlib.suppress(UserError, OSError), RunDirectory(run_directory(config), config) as run:
        if not run.is_finished:
            run.update_manifest(state=state)


def _probe(plan: Plan, launch: Launch) -> None:
    """Write the probe tables that the study reads and that finished runs lack."""
    runs = [run for run in plan.distinct(FINISHED) if plan.study.probes and _lacks_probes(plan, run)]
    if runs:
        print(f"{plan.study.name}: probing {len(runs)} runs for {' and '.join(plan.study.probes)}", file=sys.stderr)
        paths = [str(run.path) for run in runs]
        launch(range(len(runs)), functools.partial(_probe_run, plan.study.probes, paths, [str(r.log) for r in runs]))


def _lacks_probes(plan: Plan, run: PlannedRun) -> bool:
    try:
        record = read_run(run.path)
        return any(record.lacks(probe) for probe in plan.study.probes)
    except UserError:
        return False  # damaged, which the results report


def _probe_run(probes: Sequence[str], paths: Sequence[str], logs: Sequence[str], index: int) -> None:
    """Probe one run in the process that a launcher chose."""
    with _output_into(logs[index]):
        from moefacts.experiments.tasks.probe import probe_run

        try:
            probe_run(read_run(Path(paths[index])), *probes)
        except Exception:  # no failure may stop the other probes; the results say that this run was not probed
            traceback.print_exc()
    print(f"probed {Path(paths[index]).name}, one of {len(paths)}", file=sys.stderr)


def _simulate(plan: Plan, launch: Launch) -> None:
    """Run the simulations that are missing, those that failed earlier too, unless another process is at it."""
    todo = [one for one in planned_simulations(plan) if one.state not in (FINISHED, ELSEWHERE)]
    if todo:
        print(f"{plan.study.name}: {len(todo)} simulations to run", file=sys.stderr)
        for one in todo:
            one.log.parent.mkdir(parents=True, exist_ok=True)
            one.log.unlink(missing_ok=True)
        named = [(one.simulation.name, one.simulation.seed, one.simulation.settings) for one in todo]
        places = [(str(one.path), str(one.log)) for one in todo]
        launch(range(len(todo)), functools.partial(_simulate_one, named, places, study_command(plan)))


def _simulate_one(
    simulations: Sequence[tuple[str, int, Mapping[str, Any]]],
    places: Sequence[tuple[str, str]],
    command: str,
    index: int,
) -> None:
    """Run one simulation in the process that a launcher chose; its traceback, if it fails, goes to its log."""
    folder, log = places[index]
    with _output_into(log):
        from moefacts.experiments.tasks.simulate import simulate

        try:
            simulate(*simulations[index], Path(folder), command)
        except Exception:  # no failure may stop the others; the results list this one as missing
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
