"""The probe of known people finds what is there, finds nothing where nothing is, and moves what it says it moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.models.rotary import rotary_angles
from moefacts.models.transformer import build_model
from moefacts.probes.known_person import confidences, first_sentences, known_person_table, name_counts, states
from moefacts.runs import tables
from moefacts.runs.reader import read_run
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.tokenizer import build_tokenizer
from tests.conftest import tiny_config


@pytest.fixture(scope="module")
def large():
    """Enough people that an AUROC is known within a few per cent, and an untrained model of them."""
    config = tiny_config("population.size=500", "population.unseen=500", "model.num_layers=2")
    population = build_population(config.population, seed=0)
    batcher = Batcher(population, build_tokenizer("word", population.pools, population.templates), torch.device("cpu"))
    return batcher, build_model(config.model, batcher.tokenizer.vocab_size, seed=0).eval()


def last_name_ids(batcher, chosen):
    names = batcher.population.pools.last_names[chosen]
    return torch.tensor([ids[0] for ids in batcher.tokenizer.encode([f" {name}" for name in names])])


def test_a_first_sentence_ends_with_its_full_stop_and_has_one_name_and_one_value(batcher):
    batch = batcher.training_batch(0, 8)
    one = first_sentences(batch)
    for row in range(8):
        whole, cut = (b.token_BT[row].tolist() for b in (batch, one.batch))
        text = batcher.tokenizer.decode(whole)
        assert batcher.tokenizer.decode(cut) == text[: text.index(".") + 1]
    width = one.batch.inputs_BT.shape[1]
    assert (one.name_P // width).tolist() == list(range(8))
    assert (one.batch.role_BT[:, :-1].flatten()[one.name_P] == Role.LAST_NAME).all()
    said = one.batch.targets_BT.flatten()[one.value_N]
    first = [
        batcher.population.facts(int(i))[a]
        for i, a in zip(one.batch.individual_B, _first_attributes(batch), strict=True)
    ]
    assert batcher.tokenizer.decode(said.tolist()).split() == " ".join(first).split()


def _first_attributes(batch):
    from moefacts.synthetic_data.pools import ATTRIBUTES

    return [ATTRIBUTES[next(a for a in row if a >= 0)] for row in batch.attribute_BT.tolist()]


def test_a_shift_of_the_embedding_is_that_of_the_token_and_one_of_a_later_state_is_added_there(large):
    batcher, model = large
    sentences, shift_D = [first_sentences(batcher.training_batch(0, 8))], torch.randn(32)
    plain = confidences(model, sentences)
    found = confidences(model, sentences, 0, shift_D)
    with torch.no_grad():
        model.embedding.weight[last_name_ids(batcher, slice(None))] += shift_D
        expected = confidences(model, sentences)
        model.embedding.weight[last_name_ids(batcher, slice(None))] -= shift_D
    assert np.allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, plain, atol=1e-4)
    (one,) = sentences
    with torch.no_grad():
        angles = rotary_angles(one.batch.inputs_BT.shape[1], model.config.d_head, model.config.rope_theta, "cpu")
        x = model.layers[0](model.embedding(one.batch.inputs_BT), angles).x
        x.view(-1, 32)[one.name_P] += shift_D
        logits_NV = model.unembed(model.final_norm(model.layers[1](x, angles).x)).flatten(0, 1)[one.value_N]
    largest_N = logits_NV.softmax(1).max(1).values
    rows_N = one.value_N // one.batch.inputs_BT.shape[1]
    by_hand = [float(largest_N[rows_N == row].prod()) for row in range(8)]
    assert np.allclose(confidences(model, sentences, 1, shift_D), by_hand, atol=1e-5)


def test_an_untrained_model_knows_nobody(large):
    batcher, model = large
    table = known_person_table(model, batcher)
    assert table["layer"].tolist() == [0, 1, 2]
    assert set(table["people"]) == {250}
    aurocs = table[["auroc_logistic", "auroc_means", "auroc_permuted"]].to_numpy()
    assert np.abs(aurocs - 0.5).max() < 0.12  # 4.6 standard errors
    assert 0.45 < table["auroc_names"].iloc[0] < 0.65
    last = table.iloc[-1]
    assert last["confidence_unseen_added"] == last["confidence_unseen"] == last["confidence_unseen_random"]
    assert (table["confidence_unseen_added"] != table["confidence_unseen"]).tolist() == [True, True, False]


def test_people_whose_last_names_lie_in_a_direction_are_told_by_it_and_by_their_names(large):
    """The seen have the first six last names, the others have the last six, whose embeddings are moved."""
    batcher, model = large
    name_P3 = batcher.population.name_P3.copy()
    name_P3[:, 2] = name_P3[:, 2] % 6
    name_P3[500:1000, 2] += 6
    moved = batcher.with_population(replace(batcher.population, name_P3=name_P3))
    ids = last_name_ids(batcher, slice(6, None))
    before = model.embedding.weight.detach().clone()
    with torch.no_grad():
        model.embedding.weight[ids] += 50 * torch.ones(32)
    table = known_person_table(model, moved)
    with torch.no_grad():
        model.embedding.weight.copy_(before)
    assert (table[["auroc_logistic", "auroc_means"]] == 1).all(axis=None)
    assert (table["auroc_names"] == 1).all()
    assert ((table["auroc_permuted"] - 0.5).abs() < 0.08).all()  # 5 standard errors
    counts = name_counts(moved.population, np.arange(500), np.array([0, 999]))
    assert counts[1, 2] == 0 < counts[0, 2]
    assert counts[0, 2] == np.log1p((name_P3[:500, 2] == name_P3[0, 2]).sum())


def test_the_states_are_those_at_the_ends_of_the_names(large):
    batcher, model = large
    one = first_sentences(batcher.training_batch(1, 8))
    found = states(model, [one, one])
    token_P = one.batch.inputs_BT.flatten()[one.name_P]
    assert found.shape == (3, 16, 32)
    assert np.allclose(found[0, :8], model.embedding.weight[token_P].detach().double(), atol=1e-6)


@pytest.mark.usefixtures("quick_figures")
def test_analyze_writes_the_tables_on_request_only(finished_run):
    run = read_run(finished_run)
    assert not {"known_person", "temperature"} & set(run.missing_probes)
    options = ["--no-report", "--known-person", "--temperature"]
    result = CliRunner().invoke(cli.app, ["analyze", str(finished_run), *options])
    assert result.exit_code == 0, (result.output, result.exception)
    assert tables.KNOWN_PERSON.read(finished_run)["people"].tolist() == [16, 16]
    temperatures = tables.TEMPERATURE.read(finished_run)
    assert len(temperatures) == 6 * 3 * 2
    assert not run.lacks("temperature")
