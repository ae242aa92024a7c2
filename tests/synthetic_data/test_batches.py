from dataclasses import replace

import numpy as np
import pytest
import torch

from moefacts.config.presets import compose
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import BiographyPlan, Role
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import evaluation_plan, training_plan
from moefacts.synthetic_data.tokenizer import build_tokenizer


@pytest.fixture(scope="module", params=["word", "sentencepiece_32k"])
def any_batcher(request):
    population = build_population(compose(["population.size=500"]).population, seed=3)
    tokenizer = build_tokenizer(request.param, population.pools, population.templates)
    return Batcher(population, tokenizer, torch.device("cpu"))


def naive_rows(batcher, plan):
    """The token ids of each biography, joined piece by piece."""
    for row in batcher.catalog.biography_pieces(plan):
        texts = batcher.tokenizer.encode([batcher.catalog.texts[piece] for piece in row[1:-1]])
        yield [batcher.tokenizer.begin_id, *(t for text in texts for t in text), batcher.tokenizer.end_id]


def test_the_ragged_gather_equals_joining_pieces_one_by_one(any_batcher):
    plan = training_plan(any_batcher.population, 5, 32)
    batch = any_batcher.assemble(plan)
    for row, expected in enumerate(naive_rows(any_batcher, plan)):
        length = len(expected)
        assert batch.token_BT[row, :length].tolist() == expected
        assert (batch.token_BT[row, length:] == any_batcher.tokenizer.padding_id).all()
        assert (batch.role_BT[row, :length] != Role.PADDING).all()
        assert (batch.role_BT[row, length:] == Role.PADDING).all()


def test_spans_decode_to_their_values_and_names(any_batcher):
    population, tokenizer = any_batcher.population, any_batcher.tokenizer
    batch = any_batcher.training_batch(0, 64)
    for row, individual in enumerate(batch.individual_B.tolist()):
        facts = population.facts(individual)
        for index, attribute in enumerate(ATTRIBUTES):
            inside = batch.attribute_BT[row] == index
            assert tokenizer.decode(batch.token_BT[row][inside].tolist()).strip() == facts[attribute]
            assert batch.value_position_BT[row][inside].tolist() == list(range(int(inside.sum())))
        is_name = (batch.role_BT[row] >= Role.FIRST_NAME) & (batch.role_BT[row] <= Role.LAST_NAME)
        names = tokenizer.decode(batch.token_BT[row][is_name].tolist()).split()
        assert names == population.full_name(individual).split() * len(ATTRIBUTES)


def test_width_is_rounded_up_and_padding_is_counted(any_batcher):
    batch = any_batcher.training_batch(1, 16)
    assert batch.inputs_BT.shape[1] % any_batcher.round_to == 0
    assert batch.num_targets == int(batch.target_mask_BT.sum())
    assert batch.padding_share == pytest.approx(1 - batch.target_mask_BT.float().mean().item())


def test_longest_is_the_length_of_the_longest_biography_that_can_be_written(any_batcher):
    """The longest biography joins the longest names, values and templates, each of which is found by itself."""
    population, tokenizer = any_batcher.population, any_batcher.tokenizer
    pools = population.pools

    def longest(texts):
        return int(np.argmax([len(ids) for ids in tokenizer.encode([f" {text}" for text in texts])]))

    name_P3, value_PA = population.name_P3.copy(), population.value_PA.copy()
    name_P3[0] = [longest(names) for names in (pools.first_names, pools.middle_names, pools.last_names)]
    value_PA[0] = [longest(pools.values(attribute)) for attribute in ATTRIBUTES]
    extreme = Batcher(replace(population, name_P3=name_P3, value_PA=value_PA), tokenizer, torch.device("cpu"))
    num_templates, num_attributes = len(population.templates[ATTRIBUTES[0]]), len(ATTRIBUTES)
    # Each row uses one template of one attribute, and template 0 of the others. This works since lengths add up.
    attribute_BA = np.tile(np.arange(num_attributes), (num_templates * num_attributes, 1))
    template_BA = np.zeros_like(attribute_BA)
    which = np.repeat(np.arange(num_attributes), num_templates)
    template_BA[np.arange(len(which)), which] = np.tile(np.arange(num_templates), num_attributes)
    length_B = extreme.assemble(BiographyPlan(np.zeros(len(which), dtype=np.int64), attribute_BA, template_BA)).length_B
    best_A = [int(length_B[which == attribute].argmax()) for attribute in range(num_attributes)]
    plan = BiographyPlan(np.zeros(1, dtype=np.int64), np.arange(num_attributes)[None], np.array([best_A]))
    assert extreme.assemble(plan).num_tokens == any_batcher.longest == extreme.longest


def test_the_rows_of_a_batch_split_its_tokens(batcher):
    whole = batcher.training_batch(2, 8)
    parts = [whole.rows(slice(0, 3)), whole.rows(slice(3, 8))]
    assert torch.equal(torch.cat([part.token_BT for part in parts]), whole.token_BT)
    assert sum(part.num_tokens for part in parts) == whole.num_tokens


def test_batches_by_length_hold_every_biography_once_and_pad_less(batcher):
    plan = evaluation_plan(batcher.population, "seen", 100)
    batches = list(batcher.batches_by_length(plan, 16))
    assert sorted(np.concatenate([rows for rows, _ in batches])) == list(range(100))
    for rows, batch in batches:
        assert batch.individual_B.tolist() == plan.individual_B[rows].tolist()
    total = sum(batch.token_BT.numel() for _, batch in batches)
    assert total < batcher.assemble(plan).token_BT.numel()
