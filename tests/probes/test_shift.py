"""The common part of a shift of logits is found where it was put, on people who did not help to estimate it."""

import numpy as np
import pytest
import torch

from moefacts.models.transformer import build_model
from moefacts.probes.first_tokens import candidates_of, first_token_logits
from moefacts.probes.shift import common_part, decomposition, one_biography_each, shift_table
from moefacts.runs import tables
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.tokenizer import build_tokenizer
from tests.conftest import tiny_config

PEOPLE, CANDIDATES = 400, 12


def logits(seed=0, lead=2.0):
    """Logits whose right candidate leads by ``lead``, and these candidates."""
    random = np.random.default_rng(seed)
    right_B = random.integers(CANDIDATES, size=PEOPLE)
    before_BC = 0.1 * random.standard_normal((PEOPLE, CANDIDATES))
    before_BC[np.arange(PEOPLE), right_B] += lead
    return before_BC - before_BC.mean(axis=1, keepdims=True), right_B


def decomposed(before_BC, after_BC, right_B, **options):
    return decomposition(before_BC, after_BC, common_part(after_BC - before_BC), right_B, **options)


def test_a_common_shift_is_all_common_and_its_removal_brings_everything_back():
    before_BC, right_B = logits()
    shift_C = np.where(np.arange(CANDIDATES) < 6, 3.0, -3.0)
    found = decomposed(before_BC, before_BC + shift_C, right_B)
    assert found["shift"] == pytest.approx(3 * np.sqrt(CANDIDATES))
    assert found["common_share"] == pytest.approx(1)
    assert found["specific_share"] == pytest.approx(0, abs=1e-12)
    assert found["accuracy_before"] == found["accuracy_common_removed"] == 1
    assert found["accuracy"] == found["accuracy_common_only"] == pytest.approx((right_B < 6).mean())


def test_a_specific_shift_has_no_common_part_and_no_removal_helps():
    before_BC, right_B = logits()
    after_BC = before_BC.copy()
    after_BC[np.arange(PEOPLE), right_B] -= 2 * (np.arange(PEOPLE) % 4 < 2)  # half of the facts are gone
    after_BC -= after_BC.mean(axis=1, keepdims=True)
    found = decomposed(before_BC, after_BC, right_B)
    assert found["common_share"] < 0.15
    assert found["common_share"] + found["specific_share"] == pytest.approx(1)
    assert found["accuracy"] < 0.65
    assert found["accuracy_common_removed"] == pytest.approx(found["accuracy"], abs=0.1)
    assert found["accuracy_common_only"] == 1


def test_noise_has_no_common_part_because_nobody_helps_to_estimate_their_own():
    before_BC, right_B = logits()
    after_BC = before_BC + np.random.default_rng(1).standard_normal(before_BC.shape)
    assert decomposed(before_BC, after_BC, right_B)["common_share"] < 0
    own = (after_BC - before_BC).mean(axis=0)[None].repeat(PEOPLE, axis=0)
    assert decomposition(before_BC, after_BC, own, right_B)["common_share"] > 0


def test_a_random_shift_as_long_as_a_common_one_does_less():
    before_BC, right_B = logits()
    shift_C = np.zeros(CANDIDATES)
    shift_C[0] = 2.5  # all of it on one wrong answer
    found = decomposed(before_BC, before_BC + shift_C - shift_C.mean(), right_B)
    assert found["accuracy"] < 0.2
    assert found["accuracy_random_shift"] > 0.6


def test_without_a_shift_nothing_changes_and_shares_are_undefined():
    before_BC, right_B = logits()
    found = decomposed(before_BC, before_BC, right_B)
    assert np.isnan([found["common_share"], found["specific_share"]]).all()
    accuracies = {found[key] for key in found if key.startswith("accuracy")}
    assert accuracies == {1.0}


def test_facts_that_lost_to_the_other_half_are_still_first_in_their_own():
    before_BC, right_B = logits()
    is_first_C = np.arange(CANDIDATES) < 6
    own_half_BC = is_first_C == is_first_C[right_B][:, None]
    after_BC = before_BC + np.where(is_first_C, -3.0, 3.0)
    found = decomposed(before_BC, after_BC, right_B, own_half_BC=own_half_BC)
    assert found["accuracy"] == pytest.approx((right_B >= 6).mean())
    assert found["own_half"] == found["own_half_before"] == 1


def test_the_mean_is_that_of_the_others():
    shift_BC = np.array([[1.0], [10.0], [3.0], [20.0], [5.0]])
    assert common_part(shift_BC).tolist() == [[15.0], [3.0], [15.0], [3.0], [15.0]]


@pytest.fixture(scope="module")
def few():
    """A batcher with a cohort of four people, whose 24 facts have linearly independent hidden states, and a model."""
    config = tiny_config("population.cohorts={few: {stop: 4}}", "model.tied_embeddings=false")
    population = build_population(config.population, seed=0)
    batcher = Batcher(population, build_tokenizer("word", population.pools, population.templates), torch.device("cpu"))
    return batcher, build_model(config.model, batcher.tokenizer.vocab_size, seed=0)


def test_logits_are_those_of_the_model_at_the_first_token_of_every_value(few):
    batcher, model = few
    evaluator, candidates = one_biography_each(batcher, "few"), candidates_of(batcher)
    found = first_token_logits(model, evaluator, candidates)
    for rows, batch, _, _ in evaluator.batches:
        for place, biography in enumerate(rows):
            for position in (batch.role_BT[place] == Role.FIRST_VALUE).nonzero().flatten().tolist():
                attribute = int(batch.attribute_BT[place, position])
                logits_V = model(batch.token_BT[place : place + 1, :position]).logits[0, -1].detach().double().numpy()
                ours_C = logits_V[candidates[attribute].token_C]
                assert found[attribute][biography] == pytest.approx(ours_C - ours_C.mean(), abs=1e-5)
                value = batcher.population.value_PA[batch.individual_B[place], attribute]
                token = candidates[attribute].token_C[candidates[attribute].place_V[value]]
                assert token == batch.token_BT[place, position]


def test_a_model_whose_unembedding_shifts_all_facts_alike_is_told_so(few, monkeypatch, tmp_path):
    """To every logit is added b (u·h), with u·h = 1 for the hidden states h of all facts."""
    batcher, model = few
    evaluator, candidates = one_biography_each(batcher, "few"), candidates_of(batcher)
    hidden = []
    unembedding = model.unembedding.weight.detach().clone()
    for _, batch, at_N, packing in evaluator.batches:
        at_N = at_N[batch.value_position_BT[:, 1:].flatten()[at_N] == 0]
        hidden.append(model(batch.inputs_BT, packing, at_N).hidden.detach().double())
    states = torch.cat(hidden)
    u = torch.linalg.lstsq(states, torch.ones(len(states), 1, dtype=torch.float64)).solution
    assert (states @ u - 1).abs().max() < 1e-6
    b = torch.zeros(batcher.tokenizer.vocab_size, 1, dtype=torch.float64)
    for one in candidates:
        b[one.token_C[0]] = 1000.0

    def load(run, step, loaded):
        change = b @ u.T if step else torch.zeros_like(b @ u.T)
        loaded.unembedding.weight.data = (unembedding.double() + change).float()

    monkeypatch.setattr("moefacts.probes.shift.load_weights", load)
    table = shift_table(tmp_path, model, batcher, ["few"], [7], has_halves=False)
    own = table[table["tested"] == "few"]
    assert own["attribute"].tolist() == list(ATTRIBUTES)
    assert own["common_share"].to_numpy() == pytest.approx(1, abs=1e-3)
    assert own["accuracy_common_removed"].tolist() == own["accuracy_before"].tolist()
    people = evaluator.plan.individual_B
    for a, one in enumerate(candidates):  # everybody is said to have the first candidate
        right = one.place_V[batcher.population.value_PA[people, a]]
        assert own["accuracy"].iloc[a] == own["accuracy_common_only"].iloc[a] == (right == 0).mean()
    assert set(table["tested"]) == {"few", "seen"}
    tables.SHIFT.write(tmp_path, table)
    assert tables.SHIFT.read(tmp_path) is not None
