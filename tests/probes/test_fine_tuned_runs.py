"""All probes of a run that was fine-tuned."""

import pytest
import torch

from moefacts.config.presets import compose
from moefacts.experiments.tasks.finetuning import finetuning_overrides
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.probe import changed_steps, probe_run
from moefacts.experiments.tasks.train import execute
from moefacts.models.transformer import build_model
from moefacts.probes.routing import untrained_model
from moefacts.runs import layout, tables
from moefacts.runs.reader import read_run
from tests.conftest import tiny_config

MIXTURE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16", "model.activation=swiglu"]
HALVES = "population.cohorts={A: {stop: 24, values: first}}"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A mixture that was fine-tuned for 12 steps, and whose old people in A have values of the first half."""
    folder = tmp_path_factory.mktemp("runs")
    before = execute(tiny_config(*MIXTURE, HALVES, f"run.dir={folder / 'before'}"))
    cohorts = "evaluation.cohorts=[new,seen,A,unseen]"
    return execute(
        compose([*finetuning_overrides(before), cohorts, f"run.dir={folder / 'tuned'}", "training.steps=12"])
    )


@pytest.fixture(scope="module")
def probed(tuned):
    wanted = read_run(tuned).missing_probes
    assert wanted == ["routing", "attention", "decisions", "router_detection", *tables.FINE_TUNING]
    assert probe_run(read_run(tuned)) == wanted
    run = read_run(tuned)
    assert run.missing_probes == []
    return run


def test_attention_is_that_of_the_learned_people_at_every_checkpoint(probed):
    assert sorted(set(probed.attention["step"])) == layout.checkpoint_steps(probed.path) == [0, 10, 12]


def test_steps_that_are_compared_are_those_of_the_trough_and_the_end(probed):
    steps = changed_steps(probed)
    assert steps[-1] == 12
    assert 0 not in steps
    assert set(probed.probed(tables.SHIFT)["step"]) == set(steps)
    assert set(probed.probed(tables.REROUTED)["step"]) == {0, *steps}


def test_old_cohorts_and_the_learned_one_are_measured(probed):
    for table in (tables.RESTORED, tables.CORRECTED, tables.WRONG_ANSWERS, tables.REROUTED):
        assert set(probed.probed(table)["cohort"]) == {"seen", "A", "new"}
    shift = probed.probed(tables.SHIFT)
    assert set(zip(shift["cohort"], shift["tested"], strict=True)) == {
        (old, tested) for old in ("seen", "A") for tested in (old, "new")
    }
    assert (shift["halves"] == 2).all()
    assert (shift["own_half"] >= shift["accuracy"]).all()


def test_what_is_as_before_is_restored(probed):
    groups = probed.probed(tables.RESTORED).set_index(["cohort", "step", "group"])["attribute_loss"]
    confidence = probed.probed(tables.WRONG_ANSWERS)
    assert set(confidence["step"]) == {0, 10, 12}
    line = probed.probed(tables.CORRECTED).query("method == 'interpolation' and amount == 0 and step == 12")
    for _, row in line.iterrows():
        assert row["attribute_loss"] == pytest.approx(groups[row["cohort"], 12, "all"])


def test_routing_is_compared_with_fresh_weights_and_not_with_those_before_fine_tuning(tuned):
    config, materials = load_run(tuned)
    fresh = build_model(config.model, materials.batcher.tokenizer.vocab_size, config.seed)
    found = untrained_model(tuned, materials.model)
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in fresh.state_dict().items())


def test_a_run_from_fresh_weights_lacks_none_of_these_probes(finished_run):
    assert not any(read_run(finished_run).lacks(probe) for probe in tables.FINE_TUNING)
