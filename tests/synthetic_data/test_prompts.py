"""One-sentence prompts: what they say, where their parts are, and who takes whose place."""

import numpy as np
import pytest
import torch

from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.prompts import NAME_SITES, Site, prompt_pairs
from moefacts.synthetic_data.tokenizer import build_tokenizer


@pytest.fixture(scope="module", params=["word", "sentencepiece_32k"])
def made(request, population):
    tokenizer = build_tokenizer(request.param, population.pools, population.templates)
    batcher = Batcher(population, tokenizer, torch.device("cpu"))
    return batcher, *prompt_pairs(batcher, "seen", 12)


def text(batcher, prompts, row, *sites):
    wanted = prompts.token_NT[row][torch.isin(prompts.site_NT[row], torch.tensor(sites))]
    return batcher.tokenizer.decode(wanted.tolist()).strip()


def test_a_prompt_is_a_held_out_sentence_up_to_its_value(made):
    batcher, one, _ = made
    population = batcher.population
    assert len(one.length_N) == 12 * len(ATTRIBUTES) or batcher.tokenizer.vocab_size == 32000
    assert len(one.length_N) >= 6
    inside = tuple(site for site in Site if site != Site.OUTSIDE)
    for row, (person, a) in enumerate(zip(one.individual_N, one.attribute_N, strict=True)):
        name, attribute = population.full_name(person), ATTRIBUTES[a]
        held_out = population.splits.held_out_SH[population.split_PA[person, a]]
        sentences = [population.templates[attribute][t] for t in held_out]
        assert text(batcher, one, row, *inside) in [f"{t.prefix} {name}{t.middle}".strip() for t in sentences]
        assert text(batcher, one, row, *NAME_SITES) == name
        value = population.facts(person)[attribute]
        assert one.target_N[row] == batcher.tokenizer.encode([f" {value}"])[0][0]
        assert one.site_NT[row, 0] == Site.BEGIN
        assert one.site_NT[row, one.last_N[row]] == Site.LAST
        assert (one.site_NT[row, one.length_N[row] :] == Site.OUTSIDE).all()
        assert one.site_NT[row, one.name_end_N[row]] == Site.LAST_NAME
        assert one.site_NT[row, one.name_end_N[row] + 1] != Site.LAST_NAME


def test_somebody_else_takes_the_place_of_everybody_and_nothing_else_changes(made):
    _, one, other = made
    assert (one.individual_N != other.individual_N).all()
    assert set(one.individual_N) == set(other.individual_N)
    assert np.array_equal(one.attribute_N, other.attribute_N)
    assert np.array_equal(one.length_N, other.length_N)
    inside_NT = one.site_NT != Site.OUTSIDE
    width = min(one.site_NT.shape[1], other.site_NT.shape[1])
    assert torch.equal(one.site_NT[:, :width], other.site_NT[:, :width])
    is_name_NT = torch.isin(one.site_NT, torch.tensor(NAME_SITES))
    same_NT = one.token_NT[:, :width] == other.token_NT[:, :width]
    assert same_NT[(inside_NT & ~is_name_NT)[:, :width]].all()
    assert not same_NT[is_name_NT[:, :width]].all()
