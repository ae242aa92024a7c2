from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from moefacts.analysis.routing_figures import routing_figures
from moefacts.cli import app as cli
from moefacts.experiments.tasks.probe import probe_run
from moefacts.experiments.tasks.train import execute
from moefacts.models.transformer import build_model
from moefacts.probes.routing import (
    ablation_table,
    coactivation_table,
    overlap,
    use_table,
    vocabulary_specialisation,
)
from moefacts.probes.routing_choices import LayerChoices, Tokens, collect
from moefacts.runs import tables
from moefacts.runs.reader import read_run
from moefacts.synthetic_data.biography import Role
from moefacts.training.evaluation import Evaluator
from tests.conftest import tiny_config

E = 4


def made_up(num_tokens=4000, seed=0):
    """Tokens whose attribute determines their first expert and says nothing about their second."""
    generator = np.random.default_rng(seed)
    attribute = generator.integers(0, 4, num_tokens)
    second = (attribute + generator.integers(1, E, num_tokens)) % E
    tokens = Tokens(
        np.full(num_tokens, int(Role.FIRST_VALUE)), attribute, generator.integers(0, 10, num_tokens), attribute * 7
    )
    return tokens, attribute, second


def test_shares_of_experts_by_role_and_attribute():
    tokens, first, second = made_up()
    table = use_table(tokens, {0: LayerChoices(np.stack([first, second], axis=1), E)})
    shares = table[table["kind"] == "attribute"].pivot(index="label", columns="expert", values="share")
    assert shares.loc["birth_date", 0] == pytest.approx(0.5)
    assert shares.loc["birth_date", [1, 2, 3]].sum() == pytest.approx(0.5)
    roles = table[(table["kind"] == "role") & (table["label"] == "first_value")]["share"]
    assert roles.sum() == pytest.approx(1)


def test_vocabulary_specialisation_is_one_when_each_token_has_its_expert():
    tokens, first, second = made_up()
    assert vocabulary_specialisation(tokens, LayerChoices(first[:, None], E)) == 1
    assert vocabulary_specialisation(tokens, LayerChoices(np.stack([first, second], axis=1), E)) == pytest.approx(0.5)


def test_coactivation_counts_all_pairs():
    choices = LayerChoices(np.array([[0, 1], [0, 1], [0, 2], [3, 0]]), E)
    table = coactivation_table({0: choices}).set_index(["expert", "other"])["share"]
    assert table[0, 1] == pytest.approx(0.5)
    assert table[1, 0] == 1
    assert table[0, 3] == pytest.approx(0.25)
    assert table[2, 3] == 0


def test_overlap_does_not_care_about_order():
    first = LayerChoices(np.array([[0, 1], [2, 3]]), E)
    second = LayerChoices(np.array([[1, 0], [2, 0]]), E)
    assert overlap(first, first) == 1
    assert overlap(first, second) == pytest.approx(0.75)


MOE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16"]


@pytest.mark.parametrize("mixer", ["attention", "rg_lru"])
def test_ablation_leaves_the_model_as_it_was_and_sees_a_dead_expert(batcher, mixer):
    model = build_model(tiny_config(*MOE, f"model.mixer={mixer}").model, batcher.tokenizer.vocab_size, seed=0)
    model.layers[0].feed_forward.experts.down.data[2] = 0
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    table = ablation_table(model, Evaluator(batcher, "seen", 16, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    change = table.groupby("expert")["loss_change"].apply(lambda column: column.abs().sum())
    assert change[2] == 0
    assert (change[[0, 1, 3]] > 0).all()


@pytest.mark.parametrize("mixer", ["attention", "rg_lru"])
def test_what_is_collected_is_what_the_routers_chose_for_each_token(batcher, mixer):
    model = build_model(tiny_config(*MOE, f"model.mixer={mixer}").model, batcher.tokenizer.vocab_size, seed=0).eval()
    evaluator = Evaluator(batcher, "seen", 16, 16)
    tokens, choices = collect(model, evaluator)
    _, batch, _, packing = evaluator.batches[0]
    routing = model(batch.inputs_BT, packing=packing).routings[0]
    assert (choices[0].expert_NK == routing.expert_NK.numpy()).all()
    assert (tokens.id_N == batch.inputs_BT.flatten()[packing.real_N].numpy()).all()
    assert set(np.unique(tokens.role_N)) == {role for role in Role if role != Role.PADDING}


@pytest.mark.usefixtures("quick_figures")
def test_analyze_probes_a_mixture_once_and_draws_what_it_found(make_config, tmp_path):
    run = execute(make_config(*MOE, f"run.dir={tmp_path}/run", "model.num_layers=2"))
    assert not any(table.path(run).exists() for table in tables.ROUTING)
    result = CliRunner().invoke(cli.app, ["analyze", str(run)])
    assert result.exit_code == 0, result.output
    saturation = tables.SATURATION.read(run)
    assert saturation[saturation["step"] == 12]["saturation"].tolist() == [1, 1]
    assert (run / "report.html").read_text().count("<svg") == 16
    assert (run / "figures" / "colored_biography.png").exists()
    for name, (_, draw) in routing_figures(read_run(run)).items():
        texts = {text.get_text() for text in draw(read_run(run)).findobj(plt.Text)}
        layers = {text for text in texts if text.startswith("layer ")}
        assert layers == {"layer 1", "layer 2"}, name  # people count from 1, as in figures of attention
    assert probe_run(read_run(run)) == []


def test_a_table_that_an_earlier_version_did_not_write_costs_its_own_figure_only(finished_run, tmp_path):
    run = read_run(finished_run)
    assert routing_figures(run) == {}
    earlier = replace(run, path=tmp_path)
    for table in set(tables.ROUTING) - {tables.INFORMATION}:
        table.write(tmp_path, pd.DataFrame(columns=table.columns))
    assert set(routing_figures(earlier)) == {
        "load_over_training", "use_by_role", "use_by_attribute", "saturation", "coactivation", "ablation",
        "colored_biography",
    }  # fmt: skip


def test_a_dense_run_has_no_experts_to_probe(finished_run):
    assert probe_run(read_run(finished_run), "routing") == []
