"""The model card of an export says what is true of the run, and nothing in it is somebody else's markup."""

import json
import re
import shlex

import pytest

from moefacts.config.identity import identity
from moefacts.config.presets import compose
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.model_card import model_card
from moefacts.experiments.tasks.train import execute
from moefacts.runs import keys, layout
from moefacts.runs.records import read_metrics
from moefacts.synthetic_data.population import build_population


def card_of(run, step=None):
    settings, materials = load_run(run, step)
    return model_card(run, layout.checkpoint_steps(run)[-1] if step is None else step, settings, materials.batcher)


def test_its_commands_lead_to_the_same_run_and_the_same_people(finished_run):
    settings, materials = load_run(finished_run)
    card = card_of(finished_run)
    train, generate = re.search(r"```sh\n(.*)\n(.*)\n```", card).groups()
    assert identity(compose(shlex.split(train)[2:])) == identity(settings)
    words = shlex.split(generate)
    assert words[:2] + words[-2:] == ["moefacts", "generate", "--out", "people"]
    config = compose(words[2:-2])
    assert build_population(config.population, config.seed).fingerprint == materials.batcher.population.fingerprint
    assert f"`{materials.batcher.population.fingerprint}`" in card
    assert str(finished_run) not in card


@pytest.mark.parametrize(("step", "evaluated"), [(12, 12), (8, 8), (0, 0)])
def test_its_results_are_those_of_the_exported_step(finished_run, step, evaluated):
    records = {
        record["step"]: record
        for record in read_metrics(finished_run / layout.METRICS)
        if "eval/seen/attribute_loss" in record
    }
    card = card_of(finished_run, step)
    for cohort in ("seen", "unseen"):
        accuracy, loss = (
            records[evaluated][keys.evaluation_key(cohort, name)] for name in ("attribute_accuracy", "attribute_loss")
        )
        assert (
            f"`{cohort}` people, at step {evaluated} | {accuracy:.1%} of values known, loss on values {loss:.4f} nats |"
            in card
        )
    assert f"| steps of training | {step} of 12, 8 biographies each |" in card


def test_a_step_without_an_evaluation_has_the_results_of_the_one_before(finished_run):
    path = finished_run / layout.METRICS
    kept = [record for record in read_metrics(path) if record["step"] not in (8, 12) or keys.TRAIN_LOSS in record]
    path.write_text("".join(json.dumps(record) + "\n" for record in kept))
    assert "people, at step 4 |" in card_of(finished_run, 8)


def test_a_run_without_records_has_a_card_that_says_so(finished_run):
    (finished_run / layout.METRICS).unlink()
    assert card_of(finished_run).count("| not measured |") == 2


@pytest.mark.parametrize("damage", ['{"step": 12, "eval/se', '{"step": 12, "eval/seen/attribute_accuracy": "0.5"}\n'])
def test_a_damaged_record_is_left_out(finished_run, damage):
    """Such as the last one of a run that is still training."""
    path = finished_run / layout.METRICS
    lines = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line)["step"] < 12]
    path.write_text("".join(lines) + damage)
    assert "people, at step 8 |" in card_of(finished_run)


def test_the_example_is_about_somebody_that_the_run_saw(make_config, tmp_path):
    """Training draws from a part of the people here."""
    run = execute(make_config(
        f"run.dir={tmp_path}/run", "training.steps=4", "population.cohorts={late:{part_of:seen,start:40,stop:48}}",
        "sampling.cohort=late", "evaluation.cohorts=[late,seen,unseen]",
    ))  # fmt: skip
    population = load_run(run)[1].batcher.population
    card = card_of(run)
    assert population.full_name(40) in re.search(r'model\("(.*?)"', card)[1]
    assert f"The value in the population is {population.facts(40)['company']}." in card
    assert "# 8 fictional people in a dense language model" in card
    assert "`late` people" in card
    assert "sampling.cohort=late" in card
