"""Launching a plan: what is trained, in which order, what a failure stops, and what is probed. Training is stood in for."""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from moefacts.config.loader import read_config
from moefacts.experiments.engine import launch
from moefacts.experiments.engine.estimates import Estimate
from moefacts.experiments.engine.grid import HALF_DONE, TO_DO
from moefacts.experiments.engine.launch import launch_runs, runs_to_launch, stages
from moefacts.runs import layout
from moefacts.runs.location import run_name
from moefacts.runs.manifest import FAILED, FINISHED, INTERRUPTED, read_manifest
from moefacts.runs.tables import PROBES
from moefacts.training.interrupt import Interrupted
from tests.experiments.engine.run_folders import plan_of, planned, study_of, write_run


def estimate_of(*runs, seconds=()):
    pairs = [(run, time) for run, time in zip(runs, seconds or [1.0] * len(runs), strict=True)]
    return Estimate(pairs, pairs, 1, [])


class Launcher:
    """Calls every task in this process, as a launcher does, and remembers how many there were at a time."""

    def __init__(self):
        self.batches = []

    def __call__(self, indices, task):
        self.batches.append(len(indices))
        for index in indices:
            task(index)


@pytest.fixture
def launcher():
    return Launcher()


@pytest.fixture
def trained(monkeypatch):
    """The names of the runs that were trained, in order. A run whose learning rate is 1 fails."""
    names = []

    def execute(config):
        path = Path(config.run.dir)
        names.append(path.name)
        print(f"training {path.name}")
        print(f"warning of {path.name}", file=sys.stderr)
        if config.training.learning_rate == 1:
            raise ValueError(f"{path.name} cannot be trained")
        write_run(path, config)
        return path

    monkeypatch.setattr("moefacts.experiments.tasks.train.execute", execute)
    return names


@pytest.fixture
def probed(monkeypatch):
    """The runs that were probed, and for what. A run with seed 13 fails."""
    calls = []

    def probe_run(run, *probes):
        calls.append((run.path.name, *probes))
        print(f"probing {run.path.name}")
        if run.seed == 13:
            raise ValueError("unlucky")

    monkeypatch.setattr("moefacts.experiments.tasks.probe.probe_run", probe_run)
    return calls


def test_what_is_finished_runs_elsewhere_or_failed_is_not_launched(tmp_path):
    states = (TO_DO, HALF_DONE, FAILED, FINISHED, "running elsewhere")
    plan = plan_of(*(planned(tmp_path / state, state=state) for state in states), out=tmp_path)
    assert [run.state for run in runs_to_launch(plan, retry_failed=False)] == [TO_DO, HALF_DONE]
    assert [run.state for run in runs_to_launch(plan, retry_failed=True)] == [TO_DO, HALF_DONE, FAILED]


def test_the_estimated_runs_are_trained_into_their_logs_and_the_plan_says_so(tmp_path, trained, launcher, capsys):
    runs = [planned(tmp_path / "out" / name) for name in "abc"]
    plan = launch_runs(plan_of(*runs, out=tmp_path / "out"), estimate_of(*runs[:2]), launcher, longest_first=False)
    assert trained == ["a", "b"]
    assert launcher.batches == [2]
    assert [run.state for run in plan.runs] == [FINISHED, FINISHED, TO_DO]
    assert [run.log.read_text() for run in runs[:2]] == [f"training {n}\nwarning of {n}\n" for n in "ab"]
    assert not runs[2].log.exists()
    assert capsys.readouterr() == ("", "")


def test_a_log_grows_from_session_to_session(tmp_path, trained, launcher):
    run = planned(tmp_path / "out" / "a")
    run.log.parent.mkdir(parents=True)
    run.log.write_text("yesterday – ü\n")
    launch_runs(plan_of(run, out=tmp_path / "out"), estimate_of(run), launcher, longest_first=False)
    assert run.log.read_text(encoding="utf-8") == "yesterday – ü\ntraining a\nwarning of a\n"


@pytest.mark.parametrize(("longest_first", "order"), [(False, ["a", "b", "c"]), (True, ["b", "c", "a"])])
def test_side_by_side_the_longest_runs_start_first(tmp_path, trained, launcher, longest_first, order):
    runs = [planned(tmp_path / "out" / name) for name in "abc"]
    plan, estimate = plan_of(*runs, out=tmp_path / "out"), estimate_of(*runs, seconds=(1.0, 3.0, 2.0))
    launch_runs(plan, estimate, launcher, longest_first)
    assert trained == order


def test_a_failure_is_kept_in_state_and_log_and_stops_only_what_needs_the_run(tmp_path, trained, launcher, capsys):
    out = tmp_path / "out"
    failing = planned(out / "failing", "training.learning_rate=1")
    good = planned(out / "good")
    waits = planned(out / "waits", needs=(failing.path,))
    waits_longer = planned(out / "waits-longer", needs=(waits.path, good.path))
    goes_on = planned(out / "goes-on", needs=(good.path,))
    runs = (waits_longer, goes_on, waits, failing, good)
    plan = launch_runs(plan_of(*runs, out=out), estimate_of(*runs), launcher, longest_first=False)
    assert trained == ["failing", "good", "goes-on"]
    assert launcher.batches == [2, 1]  # a stage of which nothing is ready is not launched
    states = {run.path.name: run.state for run in plan.runs}
    assert states == {"failing": FAILED, "good": FINISHED, "goes-on": FINISHED, "waits": TO_DO, "waits-longer": TO_DO}
    assert read_manifest(failing.path)["state"] == FAILED
    assert read_config(failing.path / layout.CONFIG) == failing.config  # so that it can be tried again
    assert "Traceback" in failing.log.read_text()
    assert "ValueError: failing cannot be trained" in failing.log.read_text()
    assert capsys.readouterr().err == ""


def test_a_failed_run_that_is_among_those_to_train_is_tried_again(tmp_path, trained, launcher):
    run = planned(tmp_path / "out" / "a", state=FAILED)
    write_run(run.path, run.config, FAILED)
    plan = launch_runs(plan_of(run, out=tmp_path / "out"), estimate_of(run), launcher, longest_first=False)
    assert (trained, plan.runs[0].state) == (["a"], FINISHED)


def test_a_need_that_was_finished_before_counts(tmp_path, trained, launcher):
    needed = planned(tmp_path / "out" / "needed", state=FINISHED)
    write_run(needed.path, needed.config)
    run = planned(tmp_path / "out" / "run", needs=(needed.path,))
    plan = plan_of(run, out=tmp_path / "out", prerequisites=(needed,))
    assert launch_runs(plan, estimate_of(run), launcher, longest_first=False).runs[0].state == FINISHED
    assert trained == ["run"]


def test_a_run_that_failed_with_another_process_in_it_keeps_its_state(tmp_path, launcher, monkeypatch):
    """The other process holds the directory; what it writes there is not ours to change."""
    run = planned(tmp_path / "out" / "a", state=HALF_DONE)
    write_run(run.path, run.config, INTERRUPTED)

    def held(config):
        raise RuntimeError("held")

    monkeypatch.setattr("moefacts.experiments.tasks.train.execute", held)
    with FileLock(run.path / layout.LOCK):
        launch_runs(plan_of(run, out=tmp_path / "out"), estimate_of(run), launcher, longest_first=False)
    assert read_manifest(run.path)["state"] == INTERRUPTED
    assert "RuntimeError: held" in run.log.read_text()


def test_a_run_whose_directory_cannot_be_written_stops_no_other(tmp_path, launcher, trained):
    """Not even its state can be recorded there; its log has the reason."""
    (tmp_path / "file").touch()
    out = tmp_path / "out"
    failing = replace(planned(tmp_path / "file" / "run", "training.learning_rate=1"), path=out / "failing")
    good = planned(out / "good")
    plan = launch_runs(plan_of(failing, good, out=out), estimate_of(failing, good), launcher, longest_first=False)
    assert [run.state for run in plan.runs] == [TO_DO, FINISHED]
    assert "Traceback" in failing.log.read_text()


def test_an_interrupt_stops_the_grid_and_is_no_failure(tmp_path, launcher, monkeypatch):
    runs = [planned(tmp_path / "out" / name) for name in "ab"]

    def interrupted(config):
        write_run(Path(config.run.dir), config, INTERRUPTED)
        raise Interrupted(signal.SIGINT, 3)

    monkeypatch.setattr("moefacts.experiments.tasks.train.execute", interrupted)
    plan = plan_of(*runs, out=tmp_path / "out")
    with pytest.raises(Interrupted):
        launch_runs(plan, estimate_of(*runs), launcher, longest_first=False)
    assert [run.state for run in plan.refreshed().runs] == [HALF_DONE, TO_DO]


def test_what_a_neighbour_has_finished_since_the_estimate_is_not_trained(tmp_path, trained, launcher):
    run = planned(tmp_path / "out" / "a")
    run = replace(run, path=tmp_path / "out" / run_name(run.config))
    write_run(tmp_path / "other" / run.path.name, run.config)
    plan = launch_runs(plan_of(run, out=tmp_path / "out"), estimate_of(run), launcher, longest_first=False)
    assert plan.runs[0].state == FINISHED
    assert (trained, launcher.batches) == ([], [])
    assert not run.log.parent.exists()


def test_the_progress_shown_is_that_of_the_runs_that_are_trained(tmp_path, trained, launcher, monkeypatch):
    shown = []

    class Progress(launch.GridProgress):
        def __init__(self, plan, estimate):
            shown.append((plan.study.name, [run.path.name for run, _ in estimate.seconds]))
            super().__init__(plan, estimate)

    monkeypatch.setattr(launch, "GridProgress", Progress)
    done, run = planned(tmp_path / "out" / "done", state=FINISHED), planned(tmp_path / "out" / "run")
    write_run(done.path, done.config)
    launch_runs(plan_of(done, run, out=tmp_path / "out"), estimate_of(done, run), launcher, longest_first=False)
    assert shown == [("made-up", ["run"])]
    assert trained == ["run"]


def test_stages_keep_the_order_among_runs_that_can_start_together(tmp_path):
    first, second, third = (planned(tmp_path / name) for name in "abc")
    last = planned(tmp_path / "d", needs=(first.path, tmp_path / "finished long ago"))
    assert list(stages([last, third, first, second])) == [[third, first, second], [last]]
    assert list(stages([])) == []


def finished(path, *overrides):
    run = planned(path, *overrides, state=FINISHED)
    write_run(run.path, run.config)
    return run


def probes_written(run, *probes):
    for table in (table for probe in probes for table in PROBES[probe]):
        table.path(run.path).parent.mkdir(exist_ok=True)
        table.path(run.path).touch()


def test_finished_runs_that_lack_a_probe_of_the_study_are_probed(tmp_path, probed, trained, launcher, capsys):
    out = tmp_path / "out"
    lacks, has, other = (finished(out / name, "model=moe_laptop") for name in ("lacks", "has", "other"))
    probes_written(has, "attention")
    probes_written(other, "routing")
    new = planned(out / "new")
    study = study_of(probes=("attention",))
    plan = plan_of(lacks, has, other, new, planned(out / "to do"), out=out, study=study)
    launch_runs(plan, estimate_of(new), launcher, longest_first=False)
    assert probed == [("lacks", "attention"), ("other", "attention"), ("new", "attention")]
    assert launcher.batches == [1, 3]
    assert "probing lacks" in lacks.log.read_text()
    assert new.log.read_text().endswith("probing new\n")
    ended = [f"probed {name}, one of 3" for name in ("lacks", "other", "new")]
    assert capsys.readouterr() == ("", "\n".join(["made-up: probing 3 runs for attention", *ended, ""]))


def test_a_run_needs_only_the_probes_that_suit_its_model(tmp_path, probed, launcher, capsys):
    dense, mixture = finished(tmp_path / "dense"), finished(tmp_path / "mixture", "model=moe_laptop")
    plan = plan_of(dense, mixture, out=tmp_path, study=study_of(probes=("routing", "attention")))
    for run in (dense, mixture):
        probes_written(run, "attention")
    launch_runs(plan, estimate_of(), launcher, longest_first=False)
    assert probed == [("mixture", "routing", "attention")]
    assert "probing 1 runs for routing and attention" in capsys.readouterr().err


def test_a_study_that_reads_no_probes_gets_none(tmp_path, probed, launcher, capsys):
    plan = plan_of(finished(tmp_path / "run"), out=tmp_path)
    launch_runs(plan, estimate_of(), launcher, longest_first=False)
    assert (probed, launcher.batches) == ([], [])
    assert capsys.readouterr() == ("", "")


def test_a_probe_that_fails_stops_no_other_and_is_in_the_log(tmp_path, probed, launcher, capsys):
    unlucky, lucky = finished(tmp_path / "unlucky", "seed=13"), finished(tmp_path / "lucky")
    plan = plan_of(unlucky, lucky, out=tmp_path, study=study_of(probes=("attention",)))
    plan = launch_runs(plan, estimate_of(), launcher, longest_first=False)
    assert [name for name, _ in probed] == ["unlucky", "lucky"]
    assert "ValueError: unlucky" in unlucky.log.read_text()
    assert [run.state for run in plan.runs] == [FINISHED, FINISHED]
    assert "Traceback" not in capsys.readouterr().err


def test_a_run_that_cannot_be_read_is_not_probed(tmp_path, probed, launcher):
    broken, whole = finished(tmp_path / "broken"), finished(tmp_path / "whole")
    (broken.path / layout.METRICS).write_text("nonsense\n")
    plan = plan_of(broken, whole, out=tmp_path, study=study_of(probes=("attention",)))
    launch_runs(plan, estimate_of(), launcher, longest_first=False)
    assert (probed, launcher.batches) == ([("whole", "attention")], [1])


def test_tasks_can_be_sent_to_other_processes(tmp_path, trained):
    """What a launcher receives can be pickled: configurations, paths as text and functions of the module."""
    import pickle

    def elsewhere(indices, task):
        task = pickle.loads(pickle.dumps(task))
        for index in indices:
            task(index)

    run = planned(tmp_path / "out" / "a")
    plan = launch_runs(plan_of(run, out=tmp_path / "out"), estimate_of(run), elsewhere, longest_first=False)
    assert plan.runs[0].state == FINISHED
    assert json.loads((run.path / layout.MANIFEST).read_text())["state"] == FINISHED
