"""Measures of the mechanism on models whose mechanism is known, because it was built by hand or is none."""

import copy
import math

import numpy as np
import pytest
import torch

from moefacts.errors import UserError
from moefacts.models.rotary import Angles, rotary_angles, rotate
from moefacts.models.transformer import build_model
from moefacts.probes.first_tokens import candidates_of
from moefacts.probes.mechanism.ablation import MODES, ablations, means, replacements, router_swaps
from moefacts.probes.mechanism.interventions import ATTENTION, MLP, STATE, Subject, relative_change
from moefacts.probes.mechanism.knock_out import EDGES, blocked, knock_outs
from moefacts.probes.mechanism.lens import readings
from moefacts.probes.mechanism.neurons import memories
from moefacts.probes.mechanism.table import _frame, mechanism_rows
from moefacts.probes.mechanism.tracing import corrupted_probability, indirect_effects
from moefacts.synthetic_data.other_values import with_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.prompts import Site, prompt_pairs
from tests.conftest import tiny_config

PEOPLE = 16


@pytest.fixture(scope="module")
def by_last_name(batcher):
    """People whose values follow from their last names alone: that of number i is value i of every attribute."""
    population = batcher.population
    people = population.cohort("seen")
    size_A = [len(population.pools.values(attribute)) for attribute in ATTRIBUTES]
    last_P = population.name_P3[people.start : people.stop, 2].astype(int)
    return batcher.with_population(with_values(population, people, last_P[:, None] % np.array(size_A)))


@pytest.fixture(scope="module")
def lookup(by_last_name):
    """A model that looks the last name up: attention of layer 0 copies it to the last token, the MLP of layer 1 knows.

    Tokens are one-hot, and one more dimension is always 1. The head's query is that dimension, its key is whether a
    token is a last name, in the pair of dimensions that rotates least.
    """
    batcher = by_last_name
    vocabulary, pools = batcher.tokenizer.vocab_size, batcher.population.pools
    names = [ids[0] for ids in batcher.tokenizer.encode([f" {name}" for name in pools.last_names])]
    sizes = (
        f"model.d_model={vocabulary + 1 + len(names)}",
        "model.num_heads=1",
        "model.d_head=32",
        "model.d_hidden=16",
    )
    model = build_model(tiny_config(*sizes, "model.num_layers=2", "model.activation=relu").model, vocabulary, seed=0)
    always, copied = vocabulary, vocabulary + 1
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("norm.weight"):
                parameter.zero_()
        model.embedding.weight[:, :vocabulary] = torch.eye(vocabulary)
        model.embedding.weight[:, always] = 1.0
        if model.unembedding is not None:
            model.unembedding.weight[:, :vocabulary] = 10 * torch.eye(vocabulary)
        first, second = model.layers
        first.mixer.qkv.weight[15, always] = 2.0
        for number, token in enumerate(names):
            first.mixer.qkv.weight[32 + 15, token] = 2.0
            first.mixer.qkv.weight[64 + number, token] = 1.0
            first.mixer.out.weight[copied + number, number] = 1.0
            second.feed_forward.up.weight[number, copied + number] = 1.0
            for attribute in ATTRIBUTES:
                values = batcher.tokenizer.encode([f" {value}" for value in pools.values(attribute)])
                second.feed_forward.down.weight[values[number % len(values)][0], number] = 1.0
    return model


@pytest.fixture(scope="module")
def pair(lookup, by_last_name):
    return tuple(Subject(lookup, prompts) for prompts in prompt_pairs(by_last_name, "seen", PEOPLE))


def means_of(found):
    """(name, …, layer) -> mean over attributes."""
    return {tuple(labels): float(value_A.double().mean()) for *labels, value_A in found}


@pytest.fixture(scope="module")
def clean_A(pair):
    return pair[0].by_attribute(pair[0].probability())


def test_the_lookup_knows(pair, clean_A):
    assert clean_A.min() > 0.05
    assert corrupted_probability(*pair).max() < clean_A.min()


def test_knocking_out_the_edge_that_copies_the_name_costs_all(pair, clean_A):
    found = means_of(knock_outs(pair[0], clean_A))
    assert len(found) == len(EDGES) * 3 * 2
    for window, layer in (("only", 0), ("up to", 0), ("up to", 1), ("from", 0)):
        assert found["value from name", window, layer] < -0.9
    for window, layer in (("only", 1), ("from", 1)):
        assert found["value from name", window, layer] == pytest.approx(0, abs=1e-9)
    for edges in ("name from name", "value from words", "value from begin"):
        for window in ("only", "up to", "from"):
            assert abs(found[edges, window, 0]) < 0.05  # the little attention that is left elsewhere
            assert abs(found[edges, window, 1]) < 0.05


def test_ablating_what_knows_costs_all_and_nothing_else_costs_anything(pair, clean_A):
    one, other = pair
    found = means_of(ablations(one, other.recorded(), clean_A))
    assert len(found) == 2 * 3 * 3 * 2
    for mode in MODES:
        for place in ("value", "everywhere"):
            assert found[ATTENTION, place, mode, 0] < -0.5
            assert found[MLP, place, mode, 1] < -0.5
            assert found[MLP, place, mode, 0] == pytest.approx(0, abs=1e-9)
            assert found[ATTENTION, place, mode, 1] == pytest.approx(0, abs=1e-9)
        for part in (ATTENTION, MLP):
            assert found[part, "name", mode, 1] == pytest.approx(0, abs=1e-9)


def test_the_value_is_read_where_the_mlp_has_written_it(pair, by_last_name):
    one, _ = pair
    found = means_of(readings(one, one.recorded(), candidates_of(by_last_name)))
    assert found["top 1", "value", 1] > 0.99
    assert found["top 5", "value", 1] > 0.99
    assert found["top 1", "value", 0] < 0.5
    assert found["top 1", "name", 0] < 0.5
    assert found["top 1", "name", 1] > 0.99  # a last name attends to itself, so its neuron is active there, too
    assert found["rank", "value", 1] < found["rank", "value", 0]
    assert found["extracted", MLP, 1] == 1
    assert found["extracted", ATTENTION, 1] < 0.2


def test_the_name_enters_the_last_token_in_the_first_layer(pair, clean_A):
    one, other = pair
    found = means_of(indirect_effects(one, other, one.recorded()))
    whole = float((clean_A - corrupted_probability(one, other)).mean())
    for place in ((ATTENTION, "last", 0), (STATE, "last", 0), (MLP, "last", 1), (STATE, "last", 1)):
        assert found[place] == pytest.approx(whole, rel=1e-6), place
    others = {place: effect for place, effect in found.items() if place[1] != "last"}
    assert max(map(abs, others.values())) < 1e-9


def test_its_neurons_write_the_values_that_are_asked_for(pair, by_last_name):
    found = means_of(memories(pair[0], candidates_of(by_last_name)))
    assert found["concentration", "value", 1] > 0.9  # one neuron of sixteen
    assert found["concentration", "value", 0] == pytest.approx(1, abs=1e-6)  # none


def test_a_model_that_learned_nothing_is_at_chance(batcher):
    model = build_model(tiny_config("model.num_layers=2").model, batcher.tokenizer.vocab_size, seed=1)
    one, other = (Subject(model, prompts) for prompts in prompt_pairs(batcher, "seen", 48))
    candidates = candidates_of(batcher)
    found = means_of(readings(one, one.recorded(), candidates))
    chance = np.mean([1 / len(each.token_C) for each in candidates])
    assert all(abs(found["top 1", place, layer] - chance) < 0.08 for place in ("name", "value") for layer in (0, 1))
    of_five = np.mean([5 / len(each.token_C) for each in candidates])
    assert all(abs(found["top 5", place, layer] - of_five) < 0.12 for place in ("name", "value") for layer in (0, 1))
    assert all(abs(found["rank", place, layer] - 0.5) < 0.15 for place in ("name", "value") for layer in (0, 1))
    effects = means_of(indirect_effects(one, other, one.recorded()))
    assert max(map(abs, effects.values())) < 0.005


def test_nothing_of_an_intervention_stays(pair, clean_A):
    one = pair[0]
    again_A = one.by_attribute(one.probability())
    assert torch.equal(again_A, clean_A)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in one.model.modules())


def test_a_knock_out_is_minus_infinity_before_the_softmax(pair, lookup):
    """Against attention that is computed naively and given to the model."""
    one = pair[0]
    site_NT = one.prompts.site_NT
    blocked_NTT = blocked(site_NT, "value from name")
    patterns = []
    kept = lookup(one.prompts.token_NT, one.packing, keep={"attention"})
    for layer in (0, 1):
        score_NHTT = kept.attention[layer].clamp_min(1e-45).log()
        score_NHTT = score_NHTT.masked_fill(blocked_NTT[:, None], -torch.inf)
        patterns.append(score_NHTT.softmax(dim=-1))
    naive_ND = lookup(one.prompts.token_NT, one.packing, patterns=patterns).hidden[one.last_N]
    with one.knocked_out((0, 1), blocked_NTT):
        hidden_ND = one.hidden()[one.last_N]
    assert torch.allclose(hidden_ND, naive_ND, atol=1e-4)


def test_an_edge_from_a_token_to_itself_is_never_cut(pair):
    one = pair[0]
    everything = torch.ones_like(blocked(one.prompts.site_NT, "name from name"))
    with one.knocked_out((0, 1), everything):
        assert torch.isfinite(one.hidden()).all()


def test_means_are_over_tokens_of_the_same_site_and_attribute(pair):
    one = pair[0]
    x_MD = torch.arange(len(one.site_M), dtype=torch.float32)[:, None]
    found_M1 = means(one, x_MD)
    mask = (one.site_M == Site.LAST) & (one.attribute_M == 2)
    assert torch.allclose(found_M1[mask], x_MD[mask].mean())
    zero, mean, swap = replacements(one, {(0, MLP): x_MD}, {(0, MLP): x_MD + 1}, (0, MLP)).values()
    assert torch.equal(zero, torch.zeros_like(x_MD))
    assert torch.equal(mean, found_M1)
    assert torch.equal(swap, x_MD + 1)


def test_a_router_that_sees_somebody_else_sends_their_token_where_theirs_goes(batcher):
    config = tiny_config("model=moe_laptop", "model.num_layers=1", "model.moe.num_experts=4", "model.moe.d_expert=16")
    model = build_model(config.model, batcher.tokenizer.vocab_size, seed=3)
    one, other = (Subject(model, prompts) for prompts in prompt_pairs(batcher, "seen", PEOPLE))
    seen = other.router_inputs()
    assert set(seen) == {0}
    own_N, other_N = (
        model(each.prompts.token_NT, each.packing).routings[0].expert_NK[each.name_end_N, 0] for each in (one, other)
    )
    with one.routed_as(0, one.name_end_N, seen[0][one.name_end_N]):
        routed_N = model(one.prompts.token_NT, one.packing).routings[0].expert_NK[one.name_end_N, 0]
    assert torch.equal(routed_N, other_N)
    assert not torch.equal(own_N, other_N)
    clean_A = one.by_attribute(one.probability())
    found = means_of(router_swaps(one, other, clean_A))
    assert set(found) == {("router", place, "another person", 0) for place in ("name", "value", "everywhere")}
    with one.routed_as(0, one.last_N, seen[0][one.last_N]):
        assert found["router", "value", "another person", 0] == float(relative_change(one, clean_A).mean())


@torch.no_grad()
def naively_knocked_out(model, prompts, layers, blocked_NTT):
    """The probability of the true value's first token, in float64 and from the formulas, shape (N,)."""
    model, width = copy.deepcopy(model).double(), prompts.token_NT.shape[1]
    angles = Angles(*(angle.double() for angle in rotary_angles(width, model.config.d_head, 10_000.0, "cpu")))
    x_NTD, place_T = model.embedding(prompts.token_NT), torch.arange(width)
    for number, layer in enumerate(model.layers):
        qkv_NTY = layer.mixer.qkv(layer.mixer_norm(x_NTD))
        q_NHTK, k_NHTK, v_NHTK = qkv_NTY.unflatten(2, (3, layer.mixer.num_heads, -1)).permute(2, 0, 3, 1, 4)
        score_NHTT = rotate(q_NHTK, angles) @ rotate(k_NHTK, angles).mT / math.sqrt(q_NHTK.shape[-1])
        score_NHTT = score_NHTT.masked_fill(place_T > place_T[:, None], -torch.inf)
        if number in layers:
            is_cut_NTT = blocked_NTT & (place_T != place_T[:, None])
            score_NHTT = score_NHTT.masked_fill(is_cut_NTT[:, None], -torch.inf)
        mixed_NTX = (score_NHTT.softmax(dim=-1) @ v_NHTK).transpose(1, 2).flatten(2)
        x_NTD = x_NTD + layer.mixer.out(mixed_NTX)
        x_NTD = x_NTD + layer.feed_forward(layer.feed_forward_norm(x_NTD))[0]
    row_N = torch.arange(len(x_NTD))
    logits_NV = model.unembed(model.final_norm(x_NTD[row_N, prompts.last_N]))
    return logits_NV.softmax(dim=1)[row_N, prompts.target_N]


@pytest.mark.parametrize("sharpness", [1, 100])
@pytest.mark.parametrize("edges", EDGES)
def test_sharp_heads_attend_to_what_is_left(batcher, edges, sharpness):
    """Where the edges that are cut hold all of float32's mass, the others have scores still."""
    model = build_model(tiny_config("model.num_layers=2").model, batcher.tokenizer.vocab_size, seed=1)
    with torch.no_grad():
        query_XD = model.layers[0].mixer.qkv.weight.chunk(3)[0]
        query_XD *= sharpness
    subject = Subject(model, prompt_pairs(batcher, "seen", PEOPLE)[0])
    blocked_NTT = blocked(subject.prompts.site_NT, edges)
    for layers in ((0,), (1,), (0, 1)):
        with subject.knocked_out(layers, blocked_NTT):
            found_N = subject.probability()
        expected_N = naively_knocked_out(model, subject.prompts, layers, blocked_NTT)
        assert torch.allclose(found_N, expected_N, rtol=1e-3)


def test_a_model_without_finite_numbers_gets_no_table(batcher):
    model = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed=1)
    with torch.no_grad():
        model.layers[0].mixer.qkv.weight[0, 0] = torch.nan
    with pytest.raises(UserError, match="at step 7 .* measures are not finite numbers, first: probability, clean"):
        _frame(mechanism_rows(model, batcher, "seen"), 7, "seen", "own")
