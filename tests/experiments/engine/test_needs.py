"""Runs that another run of a grid needs are trained before it. Without them it is not started."""

import json

import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.experiments.engine.grid import make_plan
from moefacts.experiments.engine.launch import stages
from moefacts.experiments.engine.study import Findings, GridRun, Study
from moefacts.experiments.studies import catalog
from tests.experiments.engine.tiny_study import TINY_RUN


def _nothing(runs):
    return Findings({"examined": len(runs)}, [], {}, None)


def study_of(monkeypatch, *grid):
    study = Study("tiny-needs", "runs that need others", "none", {"laptop": grid}, {"laptop": ()}, _nothing)
    monkeypatch.setattr(catalog, "STUDIES", {**catalog.STUDIES, study.name: study})
    return study


def reproduce(out, *options):
    result = CliRunner().invoke(
        cli.app, ["reproduce", "tiny-needs", "--launcher", "basic", "--out", str(out), *options]
    )
    return result, json.loads((out / "results.json").read_text()) if (out / "results.json").exists() else None


REFERENCE = GridRun(TINY_RUN)
TWIN = GridRun((*TINY_RUN, "patching.reference_step=4"), needs=(REFERENCE,))


def test_needed_runs_are_trained_and_not_examined(monkeypatch, tmp_path):
    study_of(monkeypatch, TWIN)
    result, found = reproduce(tmp_path / "out")
    assert result.exit_code == 0, (result.output, result.exception)
    assert found["complete"]
    assert found["examined"] == 1
    assert len(list((tmp_path / "out").glob("*/manifest.json"))) == 2
    dry, _ = reproduce(tmp_path / "out", "--dry-run")
    assert dry.exit_code == 0, dry.output


def test_a_run_whose_need_failed_is_not_started_and_says_why(monkeypatch, tmp_path):
    diverging = GridRun((*TINY_RUN, "training.learning_rate=1e12"))
    twin = GridRun((*diverging.overrides, "patching.reference_step=4"), needs=(diverging,))
    study_of(monkeypatch, twin, GridRun((*TINY_RUN, "seed=5")))
    result, found = reproduce(tmp_path / "out")
    assert result.exit_code == 1
    states = {run["run"]: run["state"] for run in found["missing"]}
    (failed,) = (name for name, state in states.items() if state == "failed")
    (waiting,) = (state for state in states.values() if state != "failed")
    assert waiting == f"to do; it needs {failed} first"
    assert found["examined"] == 1


def test_stages_go_from_what_is_needed_to_what_needs_it(monkeypatch, tmp_path):
    second = GridRun((*TINY_RUN, "seed=2"), needs=(TWIN,))
    plan = make_plan(
        study_of(monkeypatch, second, TWIN, GridRun((*TINY_RUN, "seed=3"))), "laptop", [], tmp_path, tmp_path
    )
    found = [{run.config.seed * 10 + run.config.patching.is_on for run in stage} for stage in stages(plan.distinct())]
    assert found == [{0, 30}, {1}, {20}]


def test_runs_that_need_each_other_are_a_mistake_in_the_study(monkeypatch, tmp_path):
    plan = make_plan(study_of(monkeypatch, TWIN), "laptop", [], tmp_path, tmp_path)
    from dataclasses import replace

    circle = [replace(run, needs=(run.path,)) for run in plan.distinct()]
    with pytest.raises(AssertionError, match="need each other"):
        list(stages(circle))
