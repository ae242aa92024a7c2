"""Cohorts that a configuration names are trained on, evaluated and reported without new code."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.config.presets import compose, overrides_of
from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.model_card import model_card
from moefacts.experiments.tasks.probe import probe_run
from moefacts.experiments.tasks.train import execute
from moefacts.runs.reader import read_run
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import training_distribution, training_people, training_plan
from tests.conftest import TINY, tiny_config

RARE = ["population.cohorts={rare:{part_of:seen,start:40},first:{part_of:unseen,stop:10}}"]


def test_a_named_part_is_a_range_of_the_cohort_that_it_is_part_of():
    population = build_population(tiny_config(*RARE).population, seed=0)
    assert population.cohort("rare") == range(40, 48)
    assert population.cohort("first") == range(48, 58)
    assert population.fingerprint == build_population(tiny_config().population, seed=0).fingerprint


def test_training_on_a_cohort_shows_its_people_only():
    config = tiny_config(*RARE, "sampling.cohort=rare")
    population = build_population(config.population, seed=0)
    distribution = training_distribution(config.sampling, population, steps=3)
    shown = {int(i) for step in range(3) for i in training_plan(population, step, 64, distribution).individual_B}
    assert shown == set(population.cohort("rare"))


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["evaluation.cohorts=[seen,rar]"], "cohort=rar is not a valid value; did you mean rare"),
        (["sampling.cohort=nobody"], "cohort=nobody is not a valid value"),
        (["evaluation.cohorts=[]"], "at least one cohort"),
        (["population.cohorts={rare:{start:40,stop:49}}"], "not part of the 48 people in seen"),
        (["population.cohorts={seen:{stop:4}}"], "be none of"),
        (["population.cohorts={rare:{part_of:sen}}"], "did you mean seen"),
        (["sampling.cohort=rare", "sampling.kind=celebrities", "sampling.num_celebrities=9",
          "sampling.celebrity_weight=2"], "too large for the 8 people of the cohort rare"),
    ],
)  # fmt: skip
def test_a_cohort_that_makes_no_sense_gets_one_line(overrides, complaint):
    with pytest.raises(UserError, match=complaint):
        tiny_config(*(RARE if not overrides[0].startswith("population") else []), *overrides)


@pytest.mark.usefixtures("quick_figures")
def test_cohorts_are_recorded_evaluated_and_reported(tmp_path):
    overrides = [*TINY, *RARE, "sampling.cohort=rare", "evaluation.cohorts=[rare,seen,unseen,new]"]
    config = compose([*overrides, f"run.root={tmp_path}"])
    assert compose(overrides_of(config)) == config
    run = read_run(execute(config))
    assert run.cohorts == ["rare", "new", "seen", "unseen"]
    assert set(run.confidence["cohort"]) == {"rare", "seen", "unseen", "new"}
    rare = run.confidence[run.confidence["cohort"] == "rare"]
    assert set(rare["individual"]) == set(range(40, 48))
    assert run.curve("attribute_loss").iloc[-1] == pytest.approx(rare["attribute_loss"].mean(), rel=1e-6)
    result = CliRunner().invoke(cli.app, ["analyze", str(run.path), "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    measures = json.loads(result.stdout)
    for cohort in run.cohorts:
        assert measures[f"{cohort}_final_attribute_loss"] == run.curve("attribute_loss", cohort).iloc[-1]
    page = (run.path / "report.html").read_text()
    assert "new_final_attribute_loss" in page


@pytest.mark.usefixtures("quick_figures")
def test_a_run_that_evaluates_seen_people_only_is_analyzed(tmp_path):
    run = execute(compose([*TINY, "evaluation.cohorts=[seen]", f"run.root={tmp_path}"]))
    result = CliRunner().invoke(cli.app, ["analyze", str(run), "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads(result.stdout)["unseen_auroc"] is None


def test_a_run_that_replays_people_knows_of_both_cohorts_wherever_its_people_are_named(tmp_path):
    config = tiny_config(
        *RARE, "sampling.kind=replay", "sampling.cohort=new", "sampling.replay_cohort=rare", "sampling.replay_weight=2",
        "evaluation.cohorts=[new,rare,unseen]", "evaluation.interval_control=12", f"run.dir={tmp_path}/run",
    )  # fmt: skip
    assert compose(overrides_of(config)) == config
    path = execute(config)
    run, (_, materials) = read_run(path), load_run(path)
    assert run.curve("attribute_loss", bucket="current").equals(run.curve("attribute_loss"))
    assert not run.has_curve("attribute_loss", bucket="replayed")
    card = model_card(path, 12, config, materials.batcher)
    assert "# 16 fictional people" in card
    assert "sampling.replay_weight=2.0 sampling.replay_cohort=rare sampling.cohort=new" in card
    population = materials.batcher.population
    for person, seen in ((40, True), (39, False), (80, True), (48, False)):
        shown = CliRunner().invoke(cli.app, ["ask", str(path), population.full_name(person)]).stdout
        assert ("was seen in training" in " ".join(shown.split())) == seen
    assert probe_run(run, "retention") == ["retention"]
    retention = read_run(path).retention
    assert set(retention["individual"]) == set(range(80, 88))
    distribution = training_distribution(config.sampling, population, 12)
    shown = np.concatenate([training_people(population, step, 8, distribution) for step in range(12)])
    last = retention[retention["step"] == 12].set_index("individual")["times_shown"]
    assert last.tolist() == np.bincount(shown, minlength=88)[80:].tolist()
