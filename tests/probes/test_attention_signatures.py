import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.probe import probe_run
from moefacts.experiments.tasks.train import execute
from moefacts.models.transformer import ATTENTION, build_model
from moefacts.probes.attention_signatures import measure, places_of, signatures
from moefacts.runs import layout, tables
from moefacts.runs.reader import read_run
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.tokenizer import build_tokenizer
from moefacts.training.evaluation import Evaluator
from tests.conftest import tiny_config


@pytest.fixture
def model(batcher):
    return build_model(tiny_config("model.num_layers=2").model, batcher.tokenizer.vocab_size, seed=0)


def batch_of(batcher, count=6):
    return Evaluator(batcher, "seen", count, count).batches[0][1]


def attention_of(model, batch):
    return model(batch.inputs_BT, keep={ATTENTION}).attention


def all_signatures(weight_BHTT, batch):
    """The signatures of both kinds of rows, picked from the attention of all positions."""
    found = {}
    for row, at_BQ in places_of(batch).items():
        weight_BHQT = weight_BHTT.take_along_dim(at_BQ[:, None, :, None], dim=2)
        found |= signatures(row, weight_BHQT, at_BQ, batch)
    return found


def by_hand(weights, batch):
    """The signatures computed row by row, from their definition in the study."""
    names = (Role.FIRST_NAME, Role.MIDDLE_NAME, Role.LAST_NAME)
    found = {}
    for weight_HTT, roles in zip(weights.tolist(), batch.role_BT.tolist(), strict=True):
        for t in range(len(roles) - 1):
            ends_name = roles[t] == Role.LAST_NAME and roles[t + 1] != Role.LAST_NAME
            before_value = roles[t + 1] == Role.FIRST_VALUE
            if not ends_name and not before_value:
                continue
            query = "name" if ends_name else "attribute"
            rows = [weight_TT[t] for weight_TT in weight_HTT]
            seen = range(t + 1)
            entropy = [-sum(row[s] * math.log(row[s]) for s in seen if row[s] > 0) for row in rows]
            found.setdefault(f"{query}_entropy", []).append((np.mean(entropy) / math.log(t + 1), 1))
            keys = {"name": [s for s in seen if roles[s] in names and not (ends_name and s == t)]}
            if not ends_name:
                keys["text"] = [s for s in seen if roles[s] == Role.TEMPLATE]
            for key, places in keys.items():
                share = np.mean([sum(row[s] for s in places) for row in rows])
                found.setdefault(f"{query}_to_{key}", []).append((share, len(places) / (t + 1)))
    return {name: np.array(pairs).T for name, pairs in found.items()}


def test_signatures_are_those_of_the_definition(model, batcher):
    batch = batch_of(batcher)
    weights = attention_of(model, batch)[1].detach()
    found = all_signatures(weights, batch)
    expected = by_hand(weights, batch)
    assert found.keys() == expected.keys()
    for name, (value, reference) in found.items():
        assert value.flatten().numpy() == pytest.approx(expected[name][0], abs=1e-5), name
        assert reference.flatten().numpy() == pytest.approx(expected[name][1], abs=1e-6), name


def test_attention_without_preference_has_the_value_of_its_reference(batcher):
    batch = batch_of(batcher)
    length = batch.inputs_BT.shape[1]
    even = torch.ones(length, length).tril_() / torch.arange(1, length + 1)[:, None]
    for value, reference in all_signatures(even.expand(6, 2, -1, -1), batch).values():
        assert torch.allclose(value, reference.float(), atol=1e-5)


def test_names_of_several_tokens_are_measured_at_their_last_token():
    population = build_population(tiny_config("population.pools.last_names=1000").population, seed=0)
    tokenizer = build_tokenizer("sentencepiece_32k", population.pools, population.templates)
    batch = batch_of(Batcher(population, tokenizer, torch.device("cpu")))
    assert (batch.role_BT == Role.LAST_NAME).sum() > 36  # some last name has more than one token
    length = batch.inputs_BT.shape[1]
    found = all_signatures(torch.eye(length).expand(6, 2, -1, -1), batch)
    assert all(value.shape == (6, 6) for value, _ in found.values())
    assert found["name_to_name"][0].abs().max() == 0  # every token attends to itself alone
    assert found["name_entropy"][0].abs().max() == 0


def test_the_probe_writes_every_checkpoint_and_ends_with_the_last(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    _, materials = load_run(run)
    last = {name: tensor.clone() for name, tensor in materials.model.state_dict().items()}
    assert probe_run(read_run(run), "attention") == ["attention"]
    table = read_run(run).attention
    assert tuple(table.columns) == tuple(tables.ATTENTION.columns)
    assert sorted(set(table["step"])) == layout.checkpoint_steps(run)
    assert table.groupby(["step", "layer"]).size().tolist() == [5] * len(set(table["step"]))
    assert all(torch.equal(tensor, last[name]) for name, tensor in materials.model.state_dict().items())
    evaluator = Evaluator(materials.batcher, "seen", 512, 128)
    final = table[table["step"] == 12].drop(columns="step").reset_index(drop=True)
    pd.testing.assert_frame_equal(final, measure(materials.model, evaluator)[list(final.columns)])


@pytest.mark.usefixtures("quick_figures")
def test_analyze_probes_attention_once_and_draws_it(make_config, tmp_path):
    run = execute(make_config(f"run.dir={tmp_path}/run"))
    assert read_run(run).missing_probes == ["attention", "decisions"]
    result = CliRunner().invoke(cli.app, ["analyze", str(run)])
    assert result.exit_code == 0, result.output
    assert "attention and decisions probed" in result.stderr
    assert (run / "figures" / "attention.png").exists()
    assert (run / "report.html").read_text().count("<svg") == 8
    assert probe_run(read_run(run)) == []


@pytest.mark.usefixtures("quick_figures")
def test_a_run_without_weights_is_analyzed_without_attention(make_config, tmp_path):
    run = execute(make_config(f"run.dir={tmp_path}/run"))
    shutil.rmtree(run / layout.CHECKPOINTS)
    result = CliRunner().invoke(cli.app, ["analyze", str(run)])
    assert result.exit_code == 0, result.output
    assert "figures of attention and decisions are missing" in result.stderr
    assert "has no checkpoint" in result.stderr
    assert (run / "report.html").read_text().count("<svg") == 5


def test_a_recurrent_model_has_no_attention_to_probe(make_config, tmp_path):
    run = read_run(execute(make_config("model.mixer=rg_lru", f"run.dir={tmp_path}/run")))
    assert run.missing_probes == ["decisions"]
    assert run.attention is None
