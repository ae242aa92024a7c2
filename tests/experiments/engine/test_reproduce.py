"""Whole studies of tiny real runs: what they end in, what is trained and what is taken over, what failed is listed."""

import json
import shutil
import subprocess
import sys

import pytest

from moefacts.config.presets import compose
from moefacts.experiments.engine.adopt import adopt_finished
from moefacts.experiments.engine.grid import TO_DO, make_plan, run_state
from moefacts.experiments.engine.launch import _train_run
from moefacts.experiments.studies import catalog
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.manifest import FAILED, FINISHED, read_manifest
from tests.experiments.engine import tiny_study
from tests.experiments.engine.reproducing import reproduce, results

pytestmark = pytest.mark.usefixtures("tiny_studies")


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
    assert "<script src" not in page
    assert len((finished / "runs.csv").read_text().splitlines()) == 3


def test_started_again_nothing_is_trained_and_the_results_are_the_same(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*/metrics.jsonl")}
    found = results(finished)
    assert reproduce("tiny", "--launcher", "basic", "--out", finished).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in finished.glob("*/metrics.jsonl")} == before
    assert len(before) == 2
    assert results(finished) == found


def test_a_run_that_was_trained_by_hand_counts_as_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(compose([*tiny_study.STUDY.grids["laptop"][0].overrides, "run.study=tiny"]))
    plan = make_plan(tiny_study.STUDY, "laptop", [], None, tmp_path / "runs")
    assert [run.state for run in plan.runs] == [FINISHED, TO_DO]


def test_a_run_that_another_study_has_finished_is_taken_over_and_nothing_else_is(finished, tmp_path):
    other = tmp_path / "other-study"
    shutil.copytree(finished, other)
    first, second = sorted(other.glob("*-seed*"))
    config = second / layout.CONFIG
    config.write_text(config.read_text().replace("learning_rate: ", "learning_rate: 1"))  # a name is no proof
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
    other = tmp_path / "other-study"
    shutil.copytree(finished, other)
    for manifest in other.glob("*/manifest.json"):
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"state": "interrupted"}))
    plan = adopt_finished(make_plan(tiny_study.STUDY, "laptop", [], tmp_path / "mine", tmp_path))
    assert [run.state for run in plan.runs] == [TO_DO, TO_DO]


def test_report_examines_what_is_finished_and_trains_nothing(finished, tmp_path):
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    shutil.rmtree(next(out.glob("*seed1*")))
    result = reproduce("tiny", "--out", out, "--report")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"next: moefacts reproduce tiny --out {out}"
    assert [run["seed"] for run in results(out)["runs"]] == [0]
    assert results(out)["missing"][0]["state"] == TO_DO
    assert not list(out.glob("*seed1*"))
    complete = reproduce("tiny", "--out", finished, "--report")
    assert complete.exit_code == 0
    assert complete.stderr.splitlines()[-1] == f"next: moefacts list --root {finished}"


def test_a_failed_run_is_listed_and_not_retried_in_silence(tmp_path):
    first = reproduce("tiny-failing", "--launcher", "basic", "--out", tmp_path)
    assert first.exit_code == 1, (first.output, first.exception)
    command = f"moefacts reproduce tiny-failing --out {tmp_path} --launcher basic"
    assert first.stderr.splitlines()[-1] == f"next: {command} --retry-failed"
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
    config = compose([*tiny_study.TINY_RUN, f"run.dir={tmp_path / 'run'}"])
    config.tokenizer = "no such tokenizer"
    _train_run([config], [str(tmp_path / "log")], 0)
    assert run_state(tmp_path / "run") == FAILED
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_damaged_run_is_named_and_the_rest_examined(finished, tmp_path):
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    damaged = next(out.glob("*seed1*/metrics.jsonl"))
    damaged.write_text("nonsense\n")
    assert reproduce("tiny", "--launcher", "basic", "--out", out).exit_code == 1
    found = results(out)
    assert "line 1 is damaged" in found["missing"][0]["state"]
    assert len(found["runs"]) == 1


def test_all_ends_in_one_page_and_a_study_without_a_run_does_not_hide_the_others(tmp_path, monkeypatch):
    diverges = tiny_study.tiny_study("tiny-diverges", seeds=(0,), extra=("training.learning_rate=1e12",))
    monkeypatch.setattr(catalog, "STUDIES", {"tiny-diverges": diverges, "tiny": tiny_study.STUDY})
    result = reproduce("all", "--launcher", "basic", "--out", tmp_path)
    assert result.exit_code == 1
    assert "no run of tiny-diverges is finished" in result.output
    assert results(tmp_path / "tiny")["complete"] is True
    assert not (tmp_path / "tiny-diverges" / "results.json").exists()
    assert "Losses are positive" in (tmp_path / "all.html").read_text()


def test_runs_side_by_side_give_the_same_results(finished, tmp_path):
    out = tmp_path / "tiny"
    command = [sys.executable, "-m", "tests.experiments.engine.tiny_study", "reproduce", "tiny", "--launcher", "joblib"]
    process = subprocess.run([*command, "--jobs", "2", "--out", str(out)], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    assert results(out) == results(finished)
