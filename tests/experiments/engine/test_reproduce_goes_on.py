"""Studies that were stopped: started again, they end in the same results. And the progress that they show."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from filelock import FileLock

from moefacts.config.loader import read_config
from moefacts.experiments.engine.estimates import Estimate
from moefacts.experiments.engine.grid import HALF_DONE, TO_DO, make_plan
from moefacts.experiments.engine.grid_progress import GridProgress
from moefacts.experiments.engine.launch import _train_run
from moefacts.experiments.studies import catalog
from moefacts.runs import layout
from tests.cli.test_interruptions import wait_for
from tests.experiments.engine import tiny_study
from tests.experiments.engine.reproducing import reproduce, results

pytestmark = pytest.mark.usefixtures("tiny_studies")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the longer study ends in when nothing stops it."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    catalog.STUDIES[tiny_study.LONGER.name] = tiny_study.LONGER
    assert reproduce(tiny_study.LONGER.name, "--launcher", "basic", "--out", out).exit_code == 0
    return results(out)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_killed_and_started_again_the_results_are_the_same(undisturbed, tmp_path, number):
    out = tmp_path / "out"
    arguments = ["reproduce", tiny_study.LONGER.name, "--launcher", "basic", "--out", str(out)]
    command = [sys.executable, "-m", "tests.experiments.engine.tiny_study", *arguments]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: any(len(layout.checkpoint_steps(path.parent)) > 1 for path in out.glob("*/config.yaml")))
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), errors
    assert "Traceback" not in errors
    assert [run.state for run in make_plan(tiny_study.LONGER, "laptop", [], out, tmp_path).runs] == [HALF_DONE, TO_DO]
    assert not (out / "results.json").exists()
    assert reproduce(*arguments[1:]).exit_code == 0
    assert results(out) == undisturbed


def test_a_half_done_run_goes_on_to_the_same_results(finished, tmp_path):
    out = tmp_path / finished.name
    shutil.copytree(finished, out)
    whole = results(out)
    first, second = sorted(path.parent for path in out.glob("*/manifest.json"))
    shutil.rmtree(second)  # never started
    shutil.rmtree(layout.checkpoint_folder(first, 6))  # killed between its last checkpoint but one and its end
    shutil.rmtree(first / "probes")
    manifest = json.loads((first / "manifest.json").read_text()) | {"state": "running"}
    (first / "manifest.json").write_text(json.dumps(manifest))
    (first / "metrics.jsonl").write_text((first / "metrics.jsonl").read_text()[:-30])  # in the middle of a line
    (out / "results.json").unlink()
    assert reproduce("tiny", "--launcher", "basic", "--out", out).exit_code == 0
    assert "resuming from step" in (out / "logs" / f"{first.name}.log").read_text()
    assert results(out) == whole


@pytest.mark.parametrize("which", ["*seed1*", "*-seed*"])
def test_runs_that_another_process_trains_are_left_to_it_in_one_line(finished, tmp_path, which):
    out, whole = tmp_path / finished.name, results(finished)
    shutil.copytree(finished, out)
    (out / "results.json").unlink()
    left = sorted(out.glob(which))
    with contextlib.ExitStack() as others:
        for run in left:
            others.enter_context(FileLock(run / layout.LOCK))
            manifest = run / layout.MANIFEST
            manifest.write_text(manifest.read_text().replace('"finished"', '"running"'))
        stopped = reproduce("tiny", "--launcher", "basic", "--out", out)
        for run in left:
            manifest = run / layout.MANIFEST
            manifest.write_text(manifest.read_text().replace('"running"', '"finished"'))
    (line,) = (line for line in stopped.stderr.splitlines() if line.startswith("moefacts:"))
    number = "1 run is" if len(left) == 1 else "2 runs are"
    assert line.startswith(
        f"moefacts: tiny in {out}: {number} left to another process, which is at work; the same command"
    )
    assert stopped.exit_code == 1
    assert reproduce("tiny", "--launcher", "basic", "--out", out).exit_code == 0
    assert results(out) == whole


def test_a_run_that_another_process_began_meanwhile_has_no_traceback_in_its_log(finished, tmp_path):
    out = tmp_path / finished.name
    run = shutil.copytree(next(finished.glob("*seed0*")), out / "run")
    config = read_config(run / layout.CONFIG)
    config.run.dir = str(run)
    manifest = (run / layout.MANIFEST).read_bytes()
    with FileLock(run / layout.LOCK):
        _train_run([config], [str(tmp_path / "log")], 0)
    assert (
        tmp_path / "log"
    ).read_text() == f"moefacts: {run} is being trained by another process; wait for it or stop it\n"
    assert (run / layout.MANIFEST).read_bytes() == manifest


@pytest.mark.parametrize("manifest_fits", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_6_a_study_that_ran_out_of_space_goes_on_when_there_is_some(finished, tmp_path, monkeypatch, manifest_fits):
    """Issue 16, line 6: the same command resumes, as the message about the full disk promises."""
    from moefacts.training import run_directory
    from moefacts.training.loop import Trainer

    out, whole, record = tmp_path / finished.name, results(finished), Trainer._log
    write = run_directory.write_durably

    def full(self, *arguments):
        if self.run.path.is_relative_to(out) and self.state.step >= 3:  # not in a trial, which is elsewhere
            if not manifest_fits:
                monkeypatch.setattr(run_directory, "write_durably", no_space)
            no_space()
        record(self, *arguments)

    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Trainer, "_log", full)
    stopped = reproduce("tiny", "--launcher", "basic", "--out", out)
    assert stopped.exit_code == 1, stopped.output  # incomplete
    monkeypatch.setattr(run_directory, "write_durably", write)
    states = [run.state for run in make_plan(tiny_study.STUDY, "laptop", [], out, tmp_path).runs]
    assert states == [HALF_DONE, HALF_DONE if manifest_fits else TO_DO]
    monkeypatch.setattr(Trainer, "_log", record)
    again = reproduce("tiny", "--launcher", "basic", "--out", out)
    assert again.exit_code == 0, again.output
    assert "failed earlier" not in again.output
    assert results(out) == whole


def test_progress_counts_what_the_run_directories_say(finished):
    plan = make_plan(tiny_study.STUDY, "laptop", [], finished, finished.parent)
    seconds = [(run, 10.0) for run in plan.runs]
    display = GridProgress(plan, Estimate(seconds, seconds, 1, []))
    display._started_clock = 0.0
    now = display.look()
    assert (now.done, now.running, now.left, now.failed, now.share) == (2, 0, 0, 0, 1.0)
    assert now.text(10.0).startswith("runs: 2 done, 0 running, 0 left")
    display._started_clock = 1e12  # what the manifests said before this session began is still to do
    assert display.look().left == 2
