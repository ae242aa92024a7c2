"""On grids of tiny real runs, the engine keeps finished runs, lists failed ones, and survives being killed."""

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.cli import launchers
from moefacts.experiments.engine.estimates import Estimate
from moefacts.experiments.engine.grid import HALF_DONE, TO_DO, make_plan
from moefacts.experiments.engine.grid_progress import GridProgress
from moefacts.experiments.studies import catalog
from moefacts.runs import layout
from moefacts.runs.manifest import FAILED, FINISHED, read_manifest
from tests.cli.test_interruptions import wait_for
from tests.experiments.engine import tiny_study


@pytest.fixture(autouse=True)
def tiny_studies(monkeypatch):
    monkeypatch.setattr(catalog, "STUDIES", dict(catalog.STUDIES))
    tiny_study.add_to_catalog()


def reproduce(*arguments):
    return CliRunner().invoke(cli.app, ["reproduce", *map(str, arguments)])


def without_timing(value):
    if isinstance(value, dict):
        return {key: without_timing(item) for key, item in value.items() if key not in ("timing", "command")}
    return [without_timing(item) for item in value] if isinstance(value, list) else value


def results(out):
    return without_timing(json.loads((out / "results.json").read_text()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The tiny study, reproduced once. Read only."""
    out = tmp_path_factory.mktemp("study") / "tiny"
    catalog.STUDIES["tiny"] = tiny_study.STUDY
    result = reproduce("tiny", "--launcher", "basic", "--out", out)
    del catalog.STUDIES["tiny"]
    assert result.exit_code == 0, (result.output, result.exception)
    return out


def test_a_study_ends_in_verdicts_and_files(finished):
    found = results(finished)
    assert found["complete"] is True
    assert found["missing"] == []
    assert [claim["verdict"] for claim in found["claims"]] == ["holds"]
    assert found["claims"][0]["rule"] == "Holds if all are above 0."
    assert [run["seed"] for run in found["runs"]] == [0, 1]
    assert found["versions"]["moefacts"]
    commits = {read_manifest(finished / run["run"]).get("git_commit") for run in found["runs"]}
    assert found["git_commits"] == sorted(commits - {None})
    page = (finished / "report.html").read_text()
    assert "Losses are positive" in page
    assert "<script" not in page
    assert len((finished / "runs.csv").read_text().splitlines()) == 3


def test_started_again_nothing_is_trained_and_the_results_are_the_same(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*/metrics.jsonl")}
    found = results(finished)
    assert reproduce("tiny", "--launcher", "basic", "--out", finished).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in finished.glob("*/metrics.jsonl")} == before
    assert len(before) == 2
    assert results(finished) == found


def test_a_run_that_was_trained_by_hand_counts_as_done(tmp_path, monkeypatch):
    from moefacts.config.presets import compose
    from moefacts.experiments.tasks.train import execute

    monkeypatch.chdir(tmp_path)
    execute(compose([*tiny_study.STUDY.grids["laptop"][0].overrides, "run.study=tiny"]))
    plan = make_plan(tiny_study.STUDY, "laptop", [], None, tmp_path / "runs")
    assert [run.state for run in plan.runs] == [FINISHED, TO_DO]


def test_a_run_that_another_study_has_finished_is_taken_over_and_nothing_else_is(finished, tmp_path):
    import shutil

    other = tmp_path / "other-study"
    shutil.copytree(finished, other)
    first, second = sorted(other.glob("*-seed*"))
    config = second / layout.CONFIG
    config.write_text(
        config.read_text().replace("learning_rate: ", "learning_rate: 1")
    )  # the same name does not make it the same run
    before = {path.name: (path / layout.METRICS).stat().st_mtime_ns for path in (first, second)}
    out = tmp_path / "mine"
    assert reproduce("tiny", "--launcher", "basic", "--out", out).exit_code == 0
    after = {path.name: (path / layout.METRICS).stat().st_mtime_ns for path in out.glob("*-seed*")}
    assert after[first.name] == before[first.name]
    assert after[second.name] != before[second.name]
    checkpoint = next(first.glob("checkpoints/*/model.safetensors"))
    assert (out / first.name / checkpoint.relative_to(first)).stat().st_ino == checkpoint.stat().st_ino
    assert [path.name for path in (out / "logs").iterdir()] == [f"{second.name}.log"]
    assert results(out)["losses"] == results(finished)["losses"]


def test_a_run_that_another_study_has_not_finished_is_left_to_it(finished, tmp_path):
    import json
    import shutil

    from moefacts.experiments.engine.adopt import adopt_finished

    other = tmp_path / "other-study"
    shutil.copytree(finished, other)
    for manifest in other.glob("*/manifest.json"):
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"state": "interrupted"}))
    plan = adopt_finished(make_plan(tiny_study.STUDY, "laptop", [], tmp_path / "mine", tmp_path))
    assert [run.state for run in plan.runs] == [TO_DO, TO_DO]


def test_report_examines_what_is_finished_and_trains_nothing(finished, tmp_path):
    import shutil

    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    shutil.rmtree(next(out.glob("*seed1*")))
    result = reproduce("tiny", "--out", out, "--report")
    assert result.exit_code == 1
    assert [run["seed"] for run in results(out)["runs"]] == [0]
    assert results(out)["missing"][0]["state"] == TO_DO
    assert not list(out.glob("*seed1*"))
    assert reproduce("tiny", "--out", finished, "--report").exit_code == 0


def test_a_failed_run_is_listed_and_not_retried_in_silence(tmp_path):
    first = reproduce("tiny-failing", "--launcher", "basic", "--out", tmp_path)
    assert first.exit_code == 1, (first.output, first.exception)
    found = results(tmp_path)
    assert (found["complete"], len(found["runs"])) == (False, 1)
    (missing,) = found["missing"]
    assert missing["state"] == FAILED
    with open(missing["log"]) as log:
        assert "training diverged" in log.read()
    assert missing["log"] in first.output.replace("\n", "")
    assert "INCOMPLETE" in first.output
    assert "Incomplete" in (tmp_path / "report.html").read_text()
    failed = tmp_path / missing["run"]
    written = (failed / layout.MANIFEST).stat().st_mtime_ns
    second = reproduce("tiny-failing", "--launcher", "basic", "--out", tmp_path)
    assert (failed / layout.MANIFEST).stat().st_mtime_ns == written
    assert "1 failed earlier (--retry-failed tries them again)" in second.stderr
    assert reproduce("tiny-failing", "--launcher", "basic", "--out", tmp_path, "--retry-failed").exit_code == 1
    assert (failed / layout.MANIFEST).stat().st_mtime_ns != written


def test_a_run_that_fails_before_it_trains_has_a_log_and_a_state_too(tmp_path):
    from moefacts.config.presets import compose
    from moefacts.experiments.engine.grid import run_state
    from moefacts.experiments.engine.launch import _train_run

    config = compose([*tiny_study.TINY_RUN, f"run.dir={tmp_path / 'run'}"])
    config.tokenizer = "no such tokenizer"
    _train_run([config], [str(tmp_path / "log")], 0)
    assert run_state(tmp_path / "run") == FAILED
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_damaged_run_is_named_and_the_rest_examined(finished, tmp_path):
    import shutil

    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    damaged = next(out.glob("*seed1*/metrics.jsonl"))
    damaged.write_text("nonsense\n")
    assert reproduce("tiny", "--launcher", "basic", "--out", out).exit_code == 1
    found = results(out)
    assert "line 1 is damaged" in found["missing"][0]["state"]
    assert len(found["runs"]) == 1


def test_a_dry_run_starts_nothing_and_says_what_would_run(tmp_path):
    result = reproduce("tiny", "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.output.count("to do") == 2
    assert "to train: 2 runs" in result.output
    assert "in a trial of 8 steps" in result.output
    assert all(f"seed_label {seed}" in result.output for seed in (0, 1))
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_beside_finished_runs_takes_their_speed(finished, tmp_path):
    import shutil

    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    shutil.rmtree(next(out.glob("*seed1*")))
    result = reproduce("tiny", "--out", out, "--dry-run")
    assert "in 1 finished runs" in result.output
    assert "to train: 1 runs" in result.output


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("plato-law",), "did you mean plateau-law"),
        (("tiny", "--launcher", "jobli"), "did you mean joblib"),
        (("tiny", "--scale", "lapton"), "did you mean laptop"),
        (("tiny", "seed=3"), "the study tiny varies seed itself"),
        (("tiny", "scale=paper"), "use --scale instead"),
        (("tiny", "run.study=x"), "use --out instead"),
        (("tiny", "model=dense_44"), "did you mean dense_44m"),
        (("tiny", "steps=3"), "did you mean training.steps"),
        (("tiny", "--frobnicate"), "there is no option --frobnicate"),
        (("all", "population.size=3"), "the study plateau-law varies population.size itself"),
    ],
)  # fmt: skip
def test_a_wrong_command_gets_one_line(fails, tmp_path, monkeypatch, arguments, answer):
    monkeypatch.chdir(tmp_path)
    assert answer in fails("reproduce", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_absent_launcher_names_its_extra(fails, monkeypatch):
    find = launchers.importlib.util.find_spec
    absent = {"hydra_plugins.hydra_submitit_launcher", "hydra_plugins.hydra_ray_launcher"}
    monkeypatch.setattr(launchers.importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    for launcher, extra in (("submitit", "'.[slurm]'"), ("ray", "'.[ray]'")):
        assert extra in fails("reproduce", "tiny", "--launcher", launcher)


def test_a_grid_that_would_take_days_is_refused_before_it_starts(fails, monkeypatch, tmp_path):
    import moefacts.experiments.engine.estimates as estimates

    slow = estimates.Speed(50, 10.0, 0.0, "0.1 tokens/s here")
    monkeypatch.setattr(estimates, "_measured_speed", lambda config: slow)
    arguments = ("reproduce", "tiny", "--scale", "paper", "--out", tmp_path / "out", "training.steps=600")
    line = fails(*arguments)
    assert "hours on this machine" in line
    assert "--force" in line
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of the longer study when nothing stops it."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    catalog.STUDIES[tiny_study.LONGER.name] = tiny_study.LONGER
    assert reproduce(tiny_study.LONGER.name, "--launcher", "basic", "--out", out).exit_code == 0
    return results(out)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_started_again_the_results_are_the_same(undisturbed, tmp_path, number):
    out = tmp_path / "out"
    arguments = ["reproduce", tiny_study.LONGER.name, "--launcher", "basic", "--out", str(out)]
    command = [sys.executable, "-m", "tests.experiments.engine.tiny_study", *arguments]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: any(len(layout.checkpoint_steps(path.parent)) > 1 for path in out.glob("*/config.yaml")))
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), errors
    assert "Traceback" not in errors
    assert [run.state for run in make_plan(tiny_study.LONGER, "laptop", [], out, tmp_path).runs] == [HALF_DONE, TO_DO]
    assert not (out / "results.json").exists()
    assert reproduce(*arguments[1:]).exit_code == 0
    assert results(out) == undisturbed


def test_all_ends_in_one_page_and_a_study_without_a_run_does_not_hide_the_others(tmp_path, monkeypatch):
    diverges = tiny_study.tiny_study("tiny-diverges", seeds=(0,), extra=("training.learning_rate=1e30",))
    monkeypatch.setattr(catalog, "STUDIES", {"tiny-diverges": diverges, "tiny": tiny_study.STUDY})
    result = reproduce("all", "--launcher", "basic", "--out", tmp_path)
    assert result.exit_code == 1
    assert "no run of tiny-diverges is finished" in result.output
    assert results(tmp_path / "tiny")["complete"] is True
    assert not (tmp_path / "tiny-diverges" / "results.json").exists()
    assert "Losses are positive" in (tmp_path / "all.html").read_text()


def test_a_dry_run_of_all_names_every_study_and_the_time_of_all_together(monkeypatch):
    monkeypatch.setattr(catalog, "STUDIES", {study.name: study for study in (tiny_study.STUDY, tiny_study.LONGER)})
    result = reproduce("all", "--dry-run", "--launcher", "basic")
    assert result.exit_code == 0, (result.output, result.exception)
    assert [line.split()[0] for line in result.output.splitlines()[2:4]] == ["tiny", "tiny-longer"]
    assert "2 studies, about 0:" in result.output


def test_a_half_done_run_goes_on_to_the_same_results(finished, tmp_path):
    import shutil

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


def test_runs_side_by_side_give_the_same_results(finished, tmp_path):
    out = tmp_path / "tiny"
    command = [sys.executable, "-m", "tests.experiments.engine.tiny_study", "reproduce", "tiny", "--launcher", "joblib"]
    process = subprocess.run([*command, "--jobs", "2", "--out", str(out)], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    assert results(out) == results(finished)


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
