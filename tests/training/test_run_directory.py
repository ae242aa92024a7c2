"""A run directory says how to repeat its run, is locked while the run trains, and holds nothing half-written."""

import contextlib
import itertools
import json
import os
import subprocess
import sys

import pytest
import torch
from filelock import FileLock, Timeout

from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.runs.temporary import _this_host
from moefacts.training.loop import Trainer
from moefacts.training.run_directory import RunDirectory
from tests.training.comparing import weights


def test_the_manifest_says_what_is_needed_to_repeat_the_run(make_config, finished_run):
    manifest = read_manifest(finished_run)
    assert manifest["state"] == "finished"
    assert manifest["versions"]["torch"] == torch.__version__
    parameters = manifest["parameters"]
    assert parameters["total"] == sum(tensor.numel() for tensor in weights(finished_run).values())
    assert parameters["total"] > parameters["non_embedding"] > 0
    assert manifest["population_fingerprint"] == prepare(make_config()).batcher.population.fingerprint
    assert manifest["command"].startswith("moefacts train scale=laptop model=dense_laptop population.size=48")


def test_even_a_run_of_milliseconds_has_a_wall_time_above_zero(make_config, tmp_path, monkeypatch):
    """Dry runs divide by the time that finished runs took."""
    ticks = itertools.count()
    monkeypatch.setattr("moefacts.training.loop.time.monotonic", lambda: 1e-4 * next(ticks))
    run = execute(make_config(f"run.dir={tmp_path}/run", "training.steps=2"))
    assert read_manifest(run)["wall_seconds"] > 0


def test_a_finished_run_is_left_alone(make_config, finished_run, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    execute(make_config(f"run.dir={finished_run}"))
    assert "already finished" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    assert {k: v for k, v in before.items() if k.name != ".lock"} == {
        k: v for k, v in after.items() if k.name != ".lock"
    }


def test_every_line_of_the_metrics_is_json_with_a_step(finished_run):
    lines = (finished_run / layout.METRICS).read_text().splitlines()
    assert len(lines) >= 4
    assert all(type(json.loads(line)["step"]) is int for line in lines)


def test_a_run_that_another_process_trains_is_refused(make_config, tmp_path):
    config = make_config(f"run.dir={tmp_path}/run")
    with (
        RunDirectory(tmp_path / "run", config),
        pytest.raises(UserError, match="being trained by another process"),
    ):
        execute(config)


@pytest.mark.parametrize("diverges", [False, True])
def test_the_lock_is_held_while_a_run_trains_and_released_when_it_ends_or_fails(
    make_config, tmp_path, monkeypatch, diverges
):
    config = make_config(f"run.dir={tmp_path}/run", "training.steps=2")
    step, held = Trainer._step, []

    def looked_at(self, sinks, clock):
        with pytest.raises(Timeout):
            FileLock(self.run.path / layout.LOCK, blocking=False).acquire()
        held.append(self.run)  # keeps the run, because a lock without a reference would be released
        if diverges:
            raise UserError("training diverged")
        step(self, sinks, clock)

    monkeypatch.setattr(Trainer, "_step", looked_at)
    with pytest.raises(UserError, match="diverged") if diverges else contextlib.nullcontext():
        execute(config)
    assert len(held) == (1 if diverges else 2)
    with FileLock(tmp_path / "run" / layout.LOCK, blocking=False):
        pass


def test_files_that_a_killed_process_left_half_written_are_removed(make_config, tmp_path):
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / ".step_00000004.tmp").mkdir(parents=True)
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".manifest.json.1.tmp").write_text("{")
    run = execute(make_config(f"run.dir={tmp_path}/run"))
    assert not list(run.rglob("*.tmp"))


def test_3_of_half_written_probes_and_reports_those_of_living_processes_are_kept(make_config, finished_run):
    """Issue 16, line 3. An analysis may write into a run while training looks at it."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host, names = _this_host(), {}
    for state, number in (("gone", gone.pid), ("living", os.getppid())):
        for folder, target in (("", "report.html"), ("probes", "attention.parquet"), ("figures", "phases.png")):
            path = finished_run / folder / f".{target}.{host}-{number}-0.tmp"
            path.parent.mkdir(exist_ok=True)
            path.touch()
            names.setdefault(state, []).append(path)
    execute(make_config(f"run.dir={finished_run}"))
    assert [path.exists() for path in names["gone"]] == [False] * 3
    assert [path.exists() for path in names["living"]] == [True] * 3
