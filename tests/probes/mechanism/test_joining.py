"""Measures of the mechanism on models, built by hand, that join names, read words, and remember by attribute."""

import numpy as np
import pytest
import torch

from moefacts.models.transformer import build_model
from moefacts.probes.first_tokens import candidates_of
from moefacts.probes.mechanism.ablation import router_swaps
from moefacts.probes.mechanism.interventions import ATTENTION, MLP, Subject
from moefacts.probes.mechanism.knock_out import knock_outs
from moefacts.probes.mechanism.lens import readings
from moefacts.probes.mechanism.neurons import memories
from moefacts.synthetic_data.other_values import with_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.prompts import Site, prompt_pairs
from tests.conftest import tiny_config

PEOPLE, HEAD = 16, 32
SLOW = HEAD // 2 - 1  # the dimension of a head that rotates least


@pytest.fixture(scope="module")
def by_first_name(batcher):
    """People whose values follow from their first names alone: that of number i is value i of every attribute."""
    population = batcher.population
    people = population.cohort("seen")
    size_A = [len(population.pools.values(attribute)) for attribute in ATTRIBUTES]
    first_P = population.name_P3[people.start : people.stop, 0].astype(int)
    return batcher.with_population(with_values(population, people, first_P[:, None] % np.array(size_A)))


def blank(batcher, *overrides, more):
    """A model whose weights are 0, but norms and the embedding: one-hot tokens, a dimension that is always 1, ``more``."""
    vocabulary = batcher.tokenizer.vocab_size
    sizes = (f"model.d_model={vocabulary + 1 + more}", f"model.d_head={HEAD}", "model.activation=relu")
    model = build_model(tiny_config(*sizes, "model.num_layers=2", *overrides).model, vocabulary, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("norm.weight"):
                parameter.zero_()
        model.embedding.weight[:, :vocabulary] = torch.eye(vocabulary)
        model.embedding.weight[:, vocabulary] = 1.0
        if model.unembedding is not None:
            model.unembedding.weight[:, :vocabulary] = 10 * torch.eye(vocabulary)
    return model


def first_tokens(batcher, texts):
    return [ids[0] for ids in batcher.tokenizer.encode([f" {text}" for text in texts])]


def values_of(batcher):
    """Attribute -> the first tokens of its values, in the order of the pool."""
    return [first_tokens(batcher, batcher.population.pools.values(attribute)) for attribute in ATTRIBUTES]


def word_of_each(batcher, sites=(Site.BEFORE_NAME, Site.AFTER_NAME)):
    """Token -> the attributes in whose prompts it is a word of the template."""
    found = {}
    for prompts in prompt_pairs(batcher, "seen", PEOPLE):
        is_word_NT = torch.isin(prompts.site_NT, torch.tensor(sites))
        for number, attribute in enumerate(prompts.attribute_N.tolist()):
            for token in prompts.token_NT[number, is_word_NT[number]].tolist():
                found.setdefault(token, set()).add(attribute)
    return found


@pytest.fixture(scope="module")
def joining(by_first_name):
    """A model without MLPs that joins names, and whose second head tells attributes by words of the template.

    Layer 0 copies the first name to the last name. Layer 1 copies it from there to the last token, as the values of all
    attributes; its second head looks at all tokens alike and promotes all values of the attribute that a word is of.
    """
    batcher = by_first_name
    pools, always = batcher.population.pools, batcher.tokenizer.vocab_size
    first, last = (first_tokens(batcher, names) for names in (pools.first_names, pools.last_names))
    model, copied = blank(batcher, "model.num_heads=2", more=len(first)), always + 1
    key, value = 2 * HEAD, 4 * HEAD  # where keys and values of the first of two heads begin in the projection
    join, extract = (layer.mixer for layer in model.layers)
    with torch.no_grad():
        join.qkv.weight[SLOW, last] = 2.0
        join.qkv.weight[key + SLOW, first] = 2.0
        join.qkv.weight[SLOW - 1, always] = 1.0  # whoever has no name to join rests on the begin token
        join.qkv.weight[key + SLOW - 1, batcher.tokenizer.begin_id] = 1.0
        extract.qkv.weight[SLOW, always] = 2.0
        extract.qkv.weight[key + SLOW, last] = 2.0
        for number, token in enumerate(first):
            join.qkv.weight[value + number, token] = 1.0
            join.out.weight[copied + number, number] = 1.0
            extract.qkv.weight[value + number, copied + number] = 1.0
            for values in values_of(batcher):
                extract.out.weight[values[number % len(values)], number] = 1.0
        for token, attributes in word_of_each(batcher).items():
            if len(attributes) == 1:
                extract.qkv.weight[value + HEAD + min(attributes), token] = 1.0
        for attribute, values in enumerate(values_of(batcher)):
            extract.out.weight[values, HEAD + attribute] = 1.0
    return model


@pytest.fixture(scope="module")
def subject(joining, by_first_name):
    return Subject(joining, prompt_pairs(by_first_name, "seen", PEOPLE)[0])


def means_of(found):
    """(name, …, layer) -> mean over attributes."""
    return {tuple(labels): float(value_A.double().mean()) for *labels, value_A in found}


def test_each_kind_of_edge_matters_in_the_layer_that_uses_it_and_in_no_other(subject):
    clean_A = subject.by_attribute(subject.probability())
    assert clean_A.min() > 0.3
    found = means_of(knock_outs(subject, clean_A))
    assert found["name from name", "only", 0] < -0.85  # an eighth or so is left: any value of the attribute
    assert found["value from name", "only", 1] < -0.85
    assert found["value from words", "only", 1] < -0.3
    for edges, other in (("name from name", 1), ("value from name", 0), ("value from words", 0)):
        assert found[edges, "only", other] == pytest.approx(0, abs=1e-3)
        assert found[edges, "up to", 1] < -0.3
    assert found["name from name", "from", 1] == pytest.approx(0, abs=1e-3)


def test_attention_extracts_the_value_and_the_name_does_not_hold_it(subject, by_first_name):
    found = means_of(readings(subject, subject.recorded(), candidates_of(by_first_name)))
    assert found["extracted", ATTENTION, 1] > 0.95
    assert found["extracted", MLP, 1] == 0
    assert found["extracted", ATTENTION, 0] < 0.2
    assert found["top 1", "value", 1] > 0.99
    assert found["top 5", "value", 1] > 0.99
    assert found["top 5", "value", 0] < 0.5
    assert found["top 5", "name", 0] < 0.5


def copying(batcher, *overrides):
    """A model whose layer 0 copies the first name's number to every later token, and where the number is written."""
    first = first_tokens(batcher, batcher.population.pools.first_names)
    model = blank(batcher, "model.num_heads=1", *overrides, more=len(first))
    always, copied, mixer = batcher.tokenizer.vocab_size, batcher.tokenizer.vocab_size + 1, model.layers[0].mixer
    with torch.no_grad():
        mixer.qkv.weight[SLOW, always] = 2.0
        for number, token in enumerate(first):
            mixer.qkv.weight[HEAD + SLOW, token] = 2.0
            mixer.qkv.weight[2 * HEAD + number, token] = 1.0
            mixer.out.weight[copied + number, number] = 1.0
    return model, copied


def names_in(batcher, prompts):
    """The number of the first name of every prompt's person."""
    return batcher.population.name_P3[prompts.individual_N, 0].astype(int)


def test_the_strongest_neurons_write_the_attribute_that_was_built_in(by_first_name):
    """Ten neurons for each name, all of which write values of one attribute: that of the name's number modulo six."""
    batcher, each = by_first_name, 10
    names = len(batcher.population.pools.first_names)
    model, copied = copying(batcher, f"model.d_hidden={names * each}")
    block, values = model.layers[1].feed_forward, values_of(batcher)
    shared = set(values[1]) & set(values[2])
    assert shared == set(values[1])  # birthplaces and locations are the same cities, whose neurons are no one's
    with torch.no_grad():
        for number in range(names):
            written = values[number % len(ATTRIBUTES)]
            for place in range(each):
                block.up.weight[number * each + place, copied + number] = 1.0
                block.down.weight[written[place % len(written)], number * each + place] = 1.0
    subject = Subject(model, prompt_pairs(batcher, "seen", PEOPLE)[0])
    found = {tuple(labels): value_A for *labels, value_A in memories(subject, candidates_of(batcher))}
    is_own_N = names_in(batcher, subject.prompts) % len(ATTRIBUTES) == subject.prompts.attribute_N
    for attribute, name in enumerate(ATTRIBUTES):
        is_city = name in ("birthplace", "location")
        asked = is_own_N[subject.prompts.attribute_N == attribute]
        assert found["own values", "value", 1][attribute] == (0 if is_city else pytest.approx(asked.mean()))
        assert found["own values by chance", "value", 1][attribute] == pytest.approx(0 if is_city else 1 / 6)
    assert is_own_N.any()
    assert found["concentration", "value", 1].min() == pytest.approx(1 - 1 / names)


def test_a_router_that_sees_another_person_costs_what_the_other_expert_does_not_know(by_first_name):
    """Expert 0 knows the names with even numbers, expert 1 the others, and the router tells them apart."""
    batcher = by_first_name
    sizes = (
        "model.moe.num_experts=2",
        "model.moe.experts_per_token=1",
        "model.moe.d_expert=16",
        "model.moe.renormalize=false",
    )
    model, copied = copying(batcher, "model=moe_laptop", *sizes)
    mixture, values = model.layers[1].feed_forward, values_of(batcher)
    with torch.no_grad():
        for number in range(len(batcher.population.pools.first_names)):
            mixture.router.score.weight[number % 2, copied + number] = 3.0
            mixture.experts.up[number % 2, number, copied + number] = 1.0
            for tokens in values:
                mixture.experts.down[number % 2, tokens[number % len(tokens)], number] = 1.0
    one, other = (Subject(model, prompts) for prompts in prompt_pairs(batcher, "seen", PEOPLE))
    clean_N = one.probability()
    parts_ND = torch.zeros(len(one.last_N), model.config.d_model)
    with one.set_to(1, MLP, one.last_N, parts_ND):
        unknown_N = one.probability()
    assert (clean_N > 0.1).all()
    assert (unknown_N < 0.01).all()
    alike_N = torch.from_numpy((names_in(batcher, one.prompts) - names_in(batcher, other.prompts)) % 2 == 0)
    assert 0.2 < alike_N.double().mean() < 0.8
    clean_A = one.by_attribute(clean_N)
    expected_A = one.by_attribute(torch.where(alike_N, clean_N, unknown_N)) / clean_A - 1
    found = {(place, layer): change_A for _, place, _, layer, change_A in router_swaps(one, other, clean_A)}
    assert torch.allclose(found["value", 1], expected_A, atol=1e-4)
    assert torch.allclose(found["everywhere", 1], expected_A, atol=1e-4)
    assert torch.allclose(found["name", 1], torch.zeros(len(ATTRIBUTES)).double(), atol=1e-6)
    assert expected_A.max() < -0.2
