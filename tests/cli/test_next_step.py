"""Commands end by saying what comes next, in a line that can be pasted and that is no part of their output."""

import shlex
import shutil
from pathlib import Path

import pytest

from moefacts.cli.train import folders_of
from moefacts.config.overrides import quoted
from moefacts.experiments.tasks import train
from moefacts.runs import tables
from moefacts.runs.location import run_directory
from tests.cli.test_ask_risk import table as decisions
from tests.conftest import TINY, tiny_config
from tests.torture.commands import call


@pytest.fixture
def run(finished_run, tmp_path, monkeypatch):
    """A finished run whose path has a space in it, below the working folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished_run, tmp_path / "my runs" / "it's one").relative_to(tmp_path)


def next_after(*arguments, code=0):
    """What ``moefacts`` with these arguments says last on standard error, as the words that a shell makes of it."""
    ended = call(*map(str, arguments))
    assert ended.code == code, ended.stderr
    assert "next: " not in ended.stdout
    *_, last = ended.stderr.splitlines()
    assert last.startswith("next: moefacts ")
    return shlex.split(last.removeprefix("next: moefacts "))


def test_after_training_comes_analysis(run):
    assert next_after("train", *TINY, f"run.dir={quoted(str(run))}") == ["analyze", str(run)]
    assert next_after("train", "--resume", run) == ["analyze", str(run)]


def test_after_a_sweep_comes_the_analysis_of_its_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "execute", lambda config, _: run_directory(config))  # trains nothing
    runs = [run_directory(tiny_config("run.root=a b", f"seed={seed}")) for seed in (0, 1)]
    assert next_after("train", *TINY, "-m", "run.root=a b", "seed=0,1") == ["analyze", *map(str, runs)]
    many = [Path("a", str(number)) for number in range(5)]
    assert folders_of(many) == [Path("a")]
    assert folders_of([*many, Path("b/0")]) == [*many, Path("b/0")]


def test_after_analysis_comes_a_page_to_explore_and_before_it_analysis(run, population, monkeypatch):
    seen, unseen = (population.full_name(population.cohort(cohort)[0]) for cohort in ("seen", "unseen"))
    assert next_after("ask", run, seen, "--json") == ["analyze", str(run)]
    assert next_after("analyze", run, "--no-report", "--json") == ["analyze", str(run)]
    tables.DECISIONS.write(run, decisions())
    assert next_after("ask", run, seen, unseen) == ["explore", str(run), "--name", seen, "--name", unseen]
    for task in ("figures.draw_figures", "report.write_report"):
        monkeypatch.setattr(f"moefacts.analysis.{task}", lambda *_: None)
    monkeypatch.setattr("moefacts.cli.analyze._run_probes", lambda *_: None)
    assert next_after("analyze", run) == ["explore", str(run)]


def test_after_a_preview_comes_a_dataset_and_after_it_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = [*TINY, "population.cohorts={rare: {stop: 4}}", "dataset.train=10"]
    assert next_after("generate", *settings, "--preview", 1) == ["generate", *settings, "--out", "datasets/biographies"]
    assert next_after("generate", *settings, "--out", "d") == ["train", *settings[:-1]]


def test_after_a_dry_run_comes_the_same_command_in_earnest(tmp_path):
    command = ["reproduce", "phases", "--out", str(tmp_path / "my study"), "--jobs", "1", *TINY]
    assert next_after(*command, "--dry-run") == command
