"""Runs and sweeps in their own processes survive signals, kills and damage."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from moefacts.config.loader import config_yaml
from moefacts.runs import layout
from moefacts.runs.manifest import current_state, read_manifest
from moefacts.runs.records import read_metrics
from tests.conftest import TINY, tiny_config
from tests.torture.commands import call


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def start(*arguments, **options):
    """Start the command in its own session, as a terminal or a scheduler would."""
    command = [sys.executable, "-m", "moefacts", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGUSR2, 140, marks=pytest.mark.slow),
        (signal.SIGKILL, -9),
    ],  # TERM, below, and USR1 are like USR2
)
def test_a_stopped_run_can_go_on(tmp_path, number, exit_code):
    run = tmp_path / "run"
    process = start("train", *TINY, "training.steps=2000", "checkpoints.interval=50", f"run.dir={run}")
    wait_for(lambda: (run / "checkpoints").exists() and len(layout.checkpoint_steps(run)) >= 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == exit_code
    assert "Traceback" not in errors
    listing = call("list", "--root", str(tmp_path)).stdout
    assert ("killed" if number == signal.SIGKILL else "interrupted") in listing
    last = layout.checkpoint_steps(run)[-1]
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("steps: 2000", f"steps: {last + 10}"))
    resumed = call("train", "--resume", str(run))
    assert resumed.code == 0, resumed.stderr
    assert f"resuming from step {last}" in resumed.stderr
    steps = [record["step"] for record in read_metrics(run / layout.METRICS)]
    assert steps == sorted(steps)
    assert steps[-1] == last + 10


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_generate_leaves_neither_a_traceback_nor_half_a_dataset(tmp_path, number):
    process = start("generate", "scale=paper", "dataset.train=20000000", "--out", str(tmp_path / "data"))
    wait_for(lambda: list(tmp_path.glob(".data.*.tmp/data/*.parquet")))
    process.send_signal(number)
    _, errors = process.communicate(timeout=180)
    assert (process.returncode, errors) == (128 + number, "")
    assert list(tmp_path.iterdir()) == []


def test_one_interrupt_stops_a_whole_sweep(tmp_path):
    process = start("train", *TINY, "training.steps=3000", "-m", "seed=0,1", f"run.root={tmp_path}", cwd=tmp_path)
    wait_for(lambda: list(tmp_path.glob("train/*/checkpoints/step_00000004")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=180)
    assert process.returncode == 130
    states = [read_manifest(path.parent)["state"] for path in tmp_path.glob("train/*/manifest.json")]
    assert states == ["interrupted"]


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow), (signal.SIGINT, True)],
)
def test_runs_side_by_side_save_and_end_with_their_parent(tmp_path, number, whole_group):
    process = start(
        "train", *TINY, "training.steps=5000", "-m", "seed=0,1", "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2", f"run.root={tmp_path}", cwd=tmp_path,
    )  # fmt: skip
    wait_for(lambda: len(list(tmp_path.glob("train/*/checkpoints/step_00000004"))) == 2)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 128 + number, errors
    # On a busy machine joblib's tracker of semaphores may complain that its workers have already removed some.
    of_tracker = (
        r'Traceback \(most recent call last\):\n  File "[^"]*/resource_tracker\.py".*\n(?: .*\n)*KeyError: .*\n'
    )
    assert "Traceback" not in re.sub(of_tracker, "", errors), errors
    runs = [path.parent for path in tmp_path.glob("train/*/manifest.json")]
    assert [current_state(run, read_manifest(run)) for run in runs] == ["interrupted"] * 2
    for run in runs:
        manifest = read_manifest(run)
        assert layout.checkpoint_steps(run)[-1] == manifest["last_step"]


@pytest.mark.parametrize("kept", [[], [".lock"], [".lock", "config.yaml"], [".lock", "config.yaml", "checkpoints"]])
def test_a_run_killed_while_it_started_can_be_trained(tmp_path, finished_run, kept):
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoints").mkdir() if "checkpoints" in kept else None
    (run / ".lock").touch() if ".lock" in kept else None
    if "config.yaml" in kept:
        (run / "config.yaml").write_text(config_yaml(tiny_config(f"run.dir={run}")))
        result = call("train", "--resume", str(run))
    else:
        result = call("train", *TINY, f"run.dir={run}")
    assert result.code == 0, result.stderr
    assert read_manifest(run)["state"] == "finished"


@pytest.fixture
def unfinished(finished_run, tmp_path):
    """A copy of a run that looks as if it had been killed after its checkpoint at step 8."""
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    shutil.rmtree(layout.checkpoint_folder(copy, 12))
    manifest = read_manifest(copy) | {"state": "running"}
    (copy / layout.MANIFEST).write_text(json.dumps(manifest))
    return copy


@pytest.mark.parametrize("content", ["{}", '{"step": 4}', "[]", "nonsense"])
def test_a_checkpoint_with_another_state_is_refused(fails, unfinished, content):
    state = layout.checkpoint_folder(unfinished, 8) / "state.json"
    whole = json.loads(state.read_text())
    state.write_text(content if content != '{"step": 4}' else json.dumps(whole | {"step": 4}))
    metrics = (unfinished / layout.METRICS).read_bytes()
    assert "cannot resume from step 8" in fails("train", "--resume", unfinished)
    assert (unfinished / layout.METRICS).read_bytes() == metrics


@pytest.mark.parametrize("keep", [None, 0, 40])
def test_metrics_that_lost_what_a_checkpoint_counted_are_refused(fails, unfinished, keep):
    path = unfinished / layout.METRICS
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    before = path.read_bytes() if path.exists() else None
    assert "has lost records" in fails("train", "--resume", unfinished)
    assert (path.read_bytes() if path.exists() else None) == before
    assert layout.checkpoint_steps(unfinished)[-1] == 8
