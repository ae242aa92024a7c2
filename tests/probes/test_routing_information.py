"""A router that reads only token ids knows no attribute and no individual; one that reads them is found out."""

import shutil

import numpy as np
import pandas as pd
import pytest

from moefacts.experiments.tasks.materials import load_run, prepare
from moefacts.experiments.tasks.train import execute
from moefacts.probes.routing import routing_tables, untrained_model
from moefacts.probes.routing_choices import LayerChoices, Tokens, collect
from moefacts.probes.routing_information import (
    conditional_information,
    information_table,
    mutual_information,
    permuted_within,
)
from moefacts.runs import layout, tables
from moefacts.synthetic_data.biography import Role
from moefacts.training.evaluation import Evaluator
from tests.conftest import tiny_config

E = 8
MOE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16", "model.num_layers=2"]
BEYOND_THE_ID = ["attribute_given_token", "individual_given_token"]


@pytest.fixture(scope="module")
def tokens():
    """The tokens of 96 biographies, two for each seen person."""
    materials = prepare(tiny_config(*MOE))
    return collect(materials.model, Evaluator(materials.batcher, "seen", 96, 48))[0]


def table_of(tokens, expert_NK):
    return information_table(tokens, {0: LayerChoices(expert_NK, E)}).set_index("label")


def random(seed=0):
    return np.random.default_rng(seed)


def test_mutual_information_of_known_tables():
    assert mutual_information(np.eye(4) * 25) == pytest.approx(np.log(4))
    assert mutual_information(np.full((3, 5), 8.0)) == pytest.approx(0, abs=1e-12)
    counts = np.array([[30.0, 10], [10, 50]])
    joint = counts / 100
    expected = sum(
        joint[i, j] * np.log(joint[i, j] / (joint[i].sum() * joint[:, j].sum())) for i in range(2) for j in range(2)
    )
    assert mutual_information(counts) == pytest.approx(expected)


@pytest.mark.parametrize("num_chosen", [1, 2])
def test_a_router_that_is_a_function_of_the_token_id_says_nothing_more(tokens, num_chosen):
    """Without the condition, one expert per token would say 0.21 about the attribute (control: 0.009)."""
    expert_VK = random().permuted(np.tile(np.arange(E), (tokens.id_N.max() + 1, 1)), axis=1)[:, :num_chosen]
    table = table_of(tokens, expert_VK[tokens.id_N])
    assert table.loc[BEYOND_THE_ID, ["fraction", "control"]].abs().to_numpy().max() < 1e-9
    assert table.loc["token", "fraction"] > 0.5 > 0.1 > table.loc["token", "control"]


def test_a_router_that_draws_from_what_the_token_id_prescribes_scores_as_its_control(tokens):
    threshold_V = random(1).random(tokens.id_N.max() + 1)
    expert_N = np.where(random(2).random(len(tokens.id_N)) < threshold_V[tokens.id_N], tokens.id_N % E, 0)
    table = table_of(tokens, expert_N[:, None]).loc[BEYOND_THE_ID]
    assert (table["control"] > 0).all()
    assert table["fraction"].to_numpy() == pytest.approx(table["control"].to_numpy(), abs=0.01)


@pytest.mark.parametrize("read", ["attribute", "individual"])
def test_a_router_that_reads_more_than_the_token_id_scores_above_its_control(tokens, read):
    """Attributes share tokens: cities are birthplaces and locations, and companies and universities share words."""
    more_N = {"attribute": tokens.attribute_N, "individual": tokens.individual_N}[read]
    table = table_of(tokens, ((tokens.id_N + more_N) % E)[:, None])
    assert table.loc[f"{read}_given_token", "fraction"] > 2 * table.loc[f"{read}_given_token", "control"] > 0


def test_fractions_of_the_token_id_and_of_the_individual_beyond_it_add_up_to_one_at_most(tokens):
    expert_N = (tokens.id_N + tokens.individual_N) % E
    table = table_of(tokens, expert_N[:, None])
    assert table.loc[["token", "individual_given_token"], "fraction"].sum() == pytest.approx(1)
    entropy = -sum(p * np.log(p) for p in np.bincount(expert_N) / len(expert_N))
    assert table.loc["token", "entropy"] == pytest.approx(entropy)


def test_the_control_shows_the_bias_of_finite_samples():
    count, generator = 60, random()
    tokens = Tokens(np.full(count, int(Role.FIRST_VALUE)), np.zeros(count, int), np.arange(count), np.zeros(count, int))
    row = table_of(tokens, generator.integers(0, E, (count, 1))).loc["individual_given_token"]
    assert (row["fraction"], row["control"]) == (pytest.approx(1), pytest.approx(1))  # everybody occurs once


def test_conditional_information_is_the_mean_over_token_ids_of_the_information_within_one():
    generator = random()
    given, label, expert = (generator.integers(0, n, 300) for n in (5, 3, E))
    counts = np.zeros((5, 3, E))
    np.add.at(counts, (given, label, expert), 1)
    expected = sum(part.sum() / 300 * mutual_information(part) for part in counts)
    assert conditional_information(LayerChoices(expert[:, None], E), label, given) == pytest.approx(expected)


def test_labels_are_permuted_among_the_tokens_of_the_same_id():
    generator = random()
    given, label = generator.integers(0, 4, 200), np.arange(200)
    permuted = permuted_within(given, label, generator)
    assert (given[permuted] == given).all()
    assert sorted(permuted) == list(label)
    assert (permuted == label).mean() < 0.2


@pytest.mark.parametrize("has_first_checkpoint", [True, False])
def test_the_untrained_layer_stands_beside_the_trained_one(tmp_path, has_first_checkpoint):
    config = tiny_config(*MOE, f"run.dir={tmp_path}/run", "training.learning_rate=0.02")
    run = execute(config)
    if not has_first_checkpoint:
        shutil.rmtree(layout.checkpoint_folder(run, 0))
    _, materials = load_run(run)
    written = routing_tables(run, materials.model, materials.batcher)[tables.INFORMATION]
    assert set(written.columns) == set(tables.INFORMATION.columns)
    evaluator = Evaluator(materials.batcher, "seen", 512, 128)
    for weights, model in (("trained", materials.model), ("untrained", prepare(config).model)):
        expected = information_table(*collect(model, evaluator))
        found = written[written["weights"] == weights].drop(columns="weights").reset_index(drop=True)
        pd.testing.assert_frame_equal(found[list(expected.columns)], expected)
    by_weights = written.groupby("weights")["information"].apply(list)
    assert by_weights["trained"] != by_weights["untrained"]
    assert not untrained_model(run, materials.model).training
