"""A study that simulates: what is run, what is kept, and what its results say of the rest."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.engine import results as results_module
from moefacts.experiments.engine.grid import ELSEWHERE, TO_DO, make_plan
from moefacts.experiments.engine.simulations import planned_simulations
from moefacts.experiments.engine.study import Simulation
from moefacts.experiments.studies import catalog
from moefacts.experiments.studies.toy_memory import STUDY
from moefacts.experiments.studies.toy_memory.settings import KEY_VALUE, SEEDS, SHARED_DIRECTION
from moefacts.experiments.studies.toy_memory.toy_memory import measure
from moefacts.experiments.tasks import simulate
from moefacts.runs.manifest import FAILED, FINISHED, read_manifest
from moefacts.runs.tables import RECALL
from moefacts.runs.temporary import temporary_beside
from tests.experiments.engine.reproducing import reproduce, results
from tests.experiments.studies.claims.test_toy_memory import simulations

SETTINGS = {"arms": "all"}


@pytest.fixture
def made(monkeypatch):
    """The study with two seeds of each toy, whose tables are made up; a list of what was simulated, in order."""
    tables = {(one.labels["simulation"], one.seed): one.record.table for one in simulations({}, seeds=2)}
    ran = []

    def stand_in(toy):
        def table(seed, settings):
            ran.append((toy, seed))
            if settings.get("fails") == seed:
                raise RuntimeError("it broke")
            return tables[toy, seed]

        return table

    monkeypatch.setattr(results_module, "draw_study_figures", lambda *_: [])  # slow, and tested below
    monkeypatch.setattr(simulate, "SIMULATIONS", {toy: stand_in(toy) for toy in (SHARED_DIRECTION, KEY_VALUE)})
    declare(monkeypatch, SETTINGS)
    return ran


def declare(monkeypatch, settings):
    declared = [
        Simulation(toy, seed, settings, measure, 1.0) for toy in (SHARED_DIRECTION, KEY_VALUE) for seed in (0, 1)
    ]
    study = replace(STUDY, simulations={"laptop": declared})
    monkeypatch.setattr(catalog, "STUDIES", {STUDY.name: study})
    return study


def run(out, *arguments):
    return reproduce(STUDY.name, "--launcher", "basic", "--out", out, *arguments)


def states(study, out):
    return [one.state for one in planned_simulations(make_plan(study, "laptop", [], out, out.parent))]


def test_every_simulation_of_the_same_settings_runs_once_and_its_results_are_kept(made, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = run(out)
    assert first.exit_code == 0, (first.output, first.exception)
    assert made == [(SHARED_DIRECTION, 0), (SHARED_DIRECTION, 1), (KEY_VALUE, 0), (KEY_VALUE, 1)]
    whole = results(out)
    assert whole["complete"]
    assert [(one["simulation"], one["seed"]) for one in whole["runs"]] == made
    assert len(whole["claims"]) == len(STUDY.claims["laptop"])
    rows, curves = pd.read_csv(out / "runs.csv"), pd.read_csv(out / "curves.csv")
    assert list(rows["all ingredients.trough"].dropna()) == [0.2, 0.202]
    assert len(curves) * 2 == sum(len(one.record.table) for one in simulations({}, seeds=2))
    manifest = read_manifest(next(out.glob("*/manifest.json")).parent)
    assert manifest["settings"] == SETTINGS
    assert manifest["command"] == "moefacts reproduce toy-memory --scale laptop"
    shutil.rmtree(next(out.glob("key-value-seed1-*")))
    assert run(out).exit_code == 0
    assert made[4:] == [(KEY_VALUE, 1)]
    assert results(out) == whole
    assert states(declare(monkeypatch, {"arms": "other"}), out) == [TO_DO] * 4


def test_there_is_a_figure_of_each_toy(tmp_path):
    findings = STUDY.examine(simulations({}, seeds=2))
    drawn = draw_study_figures(findings.figures, tmp_path)
    assert [one.name for one in drawn] == [SHARED_DIRECTION, KEY_VALUE]
    assert STUDY.examine([]).figures == {}


def test_one_that_fails_stops_no_other_is_named_with_its_log_and_tried_again(made, tmp_path, monkeypatch):
    study, out = declare(monkeypatch, {"fails": 0}), tmp_path / "out"
    failed = run(out)
    assert failed.exit_code == 1
    assert len(made) == 4
    assert states(study, out) == [FAILED, FINISHED] * 2
    missing = results(out)["missing"]
    assert [one["state"] for one in missing] == [FAILED] * 2
    assert "it broke" in Path(missing[0]["log"]).read_text()
    assert run(out).exit_code == 1
    assert len(made) == 6


def test_what_another_process_simulates_is_left_to_it(made, tmp_path, monkeypatch):
    study, out = catalog.STUDIES[STUDY.name], tmp_path / "out"
    out.mkdir()
    folder = planned_simulations(make_plan(study, "laptop", [], out, tmp_path))[0].path
    with temporary_beside(folder) as other:
        other.mkdir()
        left = run(out)
        simulate.simulate(SHARED_DIRECTION, 0, SETTINGS, folder, "")  # it asks again when its turn comes
    assert left.exit_code == 1
    assert folder not in out.iterdir()
    assert made == [(SHARED_DIRECTION, 1), (KEY_VALUE, 0), (KEY_VALUE, 1)]
    assert [one["state"] for one in results(out)["missing"]] == [ELSEWHERE]
    assert f"toy-memory in {out}: 1 simulation is left to another process, which is at work;" in left.stderr


def test_an_interrupt_leaves_nothing_half_written(made, tmp_path, monkeypatch):
    def interrupted(seed, settings):
        raise KeyboardInterrupt

    monkeypatch.setitem(simulate.SIMULATIONS, SHARED_DIRECTION, interrupted)
    folder = tmp_path / "simulation"
    with pytest.raises(KeyboardInterrupt):
        simulate.simulate(SHARED_DIRECTION, 0, SETTINGS, folder, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["table", "manifest", "no table"])
def test_a_damaged_one_is_named_with_what_to_remove(made, tmp_path, fault):
    out = tmp_path / "out"
    for one in planned_simulations(make_plan(catalog.STUDIES[STUDY.name], "laptop", [], out, tmp_path)):
        simulate.simulate(one.simulation.name, one.simulation.seed, SETTINGS, one.path, "")
    folder = next(out.glob("key-value-seed1-*"))
    if fault == "no table":
        RECALL.path(folder).unlink()
    else:
        (RECALL.path(folder) if fault == "table" else folder / "manifest.json").write_text("nonsense")
    assert run(out, "--report").exit_code == 1
    (missing,) = results(out)["missing"]
    assert missing["state"].startswith("damaged: ")
    assert f"remove {folder}" in missing["state"]


def test_a_dry_run_lists_them_and_starts_nothing(made, tmp_path):
    out = tmp_path / "out"
    listed = run(out, "--dry-run")
    assert listed.exit_code == 0
    assert listed.output.count("to do") == 4
    assert "to simulate: 4, about 0:04" in listed.output
    assert not out.exists()
    assert made == []


def test_overrides_are_refused(fails, made, tmp_path):
    assert "trains no language model" in fails("reproduce", STUDY.name, "training.steps=3", "--out", tmp_path / "out")


def test_the_declared_settings_are_what_json_keeps_and_seeds_are_ten():
    declared = STUDY.simulations["laptop"]
    assert [one.seed for one in declared] == [*SEEDS, *SEEDS]
    assert len(SEEDS) == 10
    for one in declared:
        assert json.loads(json.dumps(one.settings)) == one.settings
        assert one.name in simulate.SIMULATIONS
