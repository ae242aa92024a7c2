"""Commands that start nothing: dry runs, wrong commands, and grids that would take too long."""

import os
import shutil
from dataclasses import replace

import pytest

from moefacts.cli import launchers
from moefacts.experiments.engine import estimates
from moefacts.experiments.studies import catalog
from tests.experiments.engine import tiny_study
from tests.experiments.engine.reproducing import reproduce

pytestmark = pytest.mark.usefixtures("tiny_studies")


def test_a_dry_run_starts_nothing_and_says_what_would_run(tmp_path):
    result = reproduce("tiny", "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.output.count("to do") == 2
    assert "to train: 2 runs" in result.output
    assert "in a trial of 8 steps" in result.output
    assert all(f"seed_label {seed}" in result.output for seed in (0, 1))
    assert "probes" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_that_probes_are_not_counted(tmp_path, monkeypatch):
    study = replace(tiny_study.STUDY, probes=("attention", "shift"))
    monkeypatch.setattr(catalog, "STUDIES", {"tiny": study})
    result = reproduce("tiny", "--out", tmp_path / "out", "--dry-run")
    assert "not counted: the probes of the runs (attention, shift), which follow" in result.output


def test_a_dry_run_beside_finished_runs_takes_their_speed(finished, tmp_path):
    out = tmp_path / "tiny"
    shutil.copytree(finished, out)
    shutil.rmtree(next(out.glob("*seed1*")))
    result = reproduce("tiny", "--out", out, "--dry-run")
    assert "in 1 finished runs" in result.output
    assert "to train: 1 runs" in result.output


def test_a_dry_run_of_all_names_every_study_and_the_time_of_all_together(monkeypatch):
    monkeypatch.setattr(catalog, "STUDIES", {study.name: study for study in (tiny_study.STUDY, tiny_study.LONGER)})
    result = reproduce("all", "--dry-run", "--launcher", "basic")
    assert result.exit_code == 0, (result.output, result.exception)
    assert [line.split()[0] for line in result.output.splitlines()[2:4]] == ["tiny", "tiny-longer"]
    assert "2 studies, about 0:" in result.output


@pytest.mark.parametrize("study", ["tiny", "all"])
def test_a_dry_run_on_a_busy_machine_says_so(monkeypatch, tmp_path, study):
    monkeypatch.setattr(catalog, "STUDIES", {one.name: one for one in (tiny_study.STUDY, tiny_study.LONGER)})
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for load, is_busy in ((6.04, True), (0.9, False)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        result = reproduce(study, "--out", tmp_path / "out", "--launcher", "basic", "--dry-run")
        line = "this machine is busy (load 6.0 on 2 cores), so these times are longer than on an idle one\n"
        assert (line in result.output) == is_busy
        assert ("is busy" in result.output) == is_busy


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

    slow = estimates.Speed(50, 10.0, 0.0, "0.1 tokens/s here")
    monkeypatch.setattr(estimates, "_measured_speed", lambda config: slow)
    arguments = ("reproduce", "tiny", "--scale", "paper", "--out", tmp_path / "out", "training.steps=600")
    line = fails(*arguments)
    assert "hours on this machine" in line
    assert "--force" in line
    assert list(tmp_path.iterdir()) == []
