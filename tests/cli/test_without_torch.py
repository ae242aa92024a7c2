"""Commands that only read files (reports of studies, measures of runs, lists) work without torch."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moefacts.config.loader import read_config
from moefacts.experiments.engine.grid import make_plan
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.simulations import planned_simulations
from moefacts.experiments.studies.toy_memory import STUDY as TOYS
from moefacts.runs.tables import RECALL
from moefacts.synthetic_data.population import build_population
from tests.experiments.studies.claims.test_toy_memory import simulations

STUDY = Path(__file__).parents[1] / "fixtures" / "before_formats" / "phases"
WITHOUT = """
import sys

ABSENT = sys.argv.pop(1).split()

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Nothing())
from moefacts.cli.app import main
main()
"""


@pytest.fixture
def study(tmp_path):
    """A finished study. Its runs get the seeds of the present grid, as if it had been run with them."""
    copy = shutil.copytree(STUDY, tmp_path / "phases")
    for run in copy.glob("dense*"):
        config = (run / "config.yaml").read_text()
        seed = int(re.search(r"^seed: (\d+)$", config, re.MULTILINE).group(1))
        new = seeds_for(1024, 5)[seed]
        (run / "config.yaml").write_text(config.replace(f"\nseed: {seed}\n", f"\nseed: {new}\n"))
        manifest = json.loads((run / "manifest.json").read_text())
        people = build_population(read_config(run / "config.yaml").population, new)
        manifest["population_fingerprint"] = people.fingerprint
        (run / "manifest.json").write_text(json.dumps(manifest))
        run.rename(run.with_name(run.name.replace(f"seed{seed}-", f"seed{new}-")))
    return copy


def moefacts(*arguments, absent="torch"):
    command = [sys.executable, "-c", WITHOUT, absent, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_report_of_a_study_is_made_without_torch(study):
    _, _, name, *overrides = shlex.split(json.loads((study / "results.json").read_text())["command"])
    ended = moefacts("reproduce", name, *overrides, "--out", study, "--report")
    assert ended.returncode == 0, ended.stderr
    assert (study / "report.html").exists()


@pytest.mark.slow
def test_the_report_of_simulations_is_made_without_torch(tmp_path):
    (one, *_) = planned_simulations(make_plan(TOYS, "laptop", [], tmp_path / "toys", tmp_path))
    one.path.mkdir(parents=True)
    RECALL.write(one.path, simulations({}, seeds=1)[-1].record.table)
    manifest = {"state": "finished", "versions": {"moefacts": "0"}, "command": "", "device": "cpu"}
    (one.path / "manifest.json").write_text(json.dumps(manifest))
    ended = moefacts("reproduce", TOYS.name, "--out", tmp_path / "toys", "--report")
    assert ended.returncode == 1, ended.stderr  # all but one are missing
    assert (tmp_path / "toys" / "report.html").exists()


def test_a_run_is_measured_without_torch(study):
    run = next(study.glob("dense*"))
    ended = moefacts("analyze", run, "--json", "--no-report")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["final_attribute_loss"] > 0


def test_runs_are_listed_without_what_takes_long_to_import(study):
    ended = moefacts("list", "--root", study.parent, absent="torch hydra pandas scipy matplotlib")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("finished") == 5


def test_training_does_need_it(study):
    """This is the control: without torch, a command that needs it does fail."""
    ended = moefacts("train", "training.steps=1", f"run.root={study.parent}")
    assert ended.returncode != 0
    assert "torch" in ended.stderr
