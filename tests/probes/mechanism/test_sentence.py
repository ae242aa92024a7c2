"""One sentence of a tiny model: what the table holds is what the model does."""

import pytest
import torch

from moefacts.models.transformer import build_model
from moefacts.probes.first_tokens import candidates_of
from moefacts.probes.mechanism.interventions import Subject
from moefacts.probes.mechanism.sentence import ATTRIBUTE, first_token_texts, sentence_of, sentence_rows, sentence_table
from moefacts.runs.tables import MECHANISM_SENTENCE
from moefacts.synthetic_data.pools import ATTRIBUTES
from tests.conftest import tiny_config

NUM_LAYERS = 3


@pytest.fixture(scope="module")
def prompt(batcher):
    return sentence_of(batcher, "seen")


@pytest.fixture(scope="module")
def model(batcher):
    config = tiny_config(f"model.num_layers={NUM_LAYERS}").model
    return build_model(config, batcher.tokenizer.vocab_size, seed=0)


@pytest.fixture(scope="module")
def rows(model, batcher, prompt):
    return list(sentence_rows(model, batcher, prompt))


def test_the_sentence_is_about_the_company_of_somebody_seen(batcher, prompt):
    assert ATTRIBUTES[int(prompt.attribute_N[0])] == ATTRIBUTE
    person = int(prompt.individual_N[0])
    assert person in batcher.population.cohort("seen")
    value = batcher.population.facts(person)[ATTRIBUTE]
    assert batcher.tokenizer.encode([f" {value}"])[0][0] == int(prompt.target_N[0])


def test_attention_of_every_layer_sums_to_one_over_the_sentence(rows, prompt):
    length = int(prompt.length_N[0])
    assert [(layer, position) for layer, position, *_ in rows] == [
        (layer, position) for layer in range(NUM_LAYERS) for position in range(length)
    ]
    for layer in range(NUM_LAYERS):
        assert sum(row[2] for row in rows if row[0] == layer) == pytest.approx(1, abs=1e-6)


def test_what_is_read_after_the_last_layer_is_what_the_model_answers(rows, model, batcher, prompt):
    token_C = candidates_of(batcher)[ATTRIBUTES.index(ATTRIBUTE)].token_C
    subject = Subject(model, prompt)
    share_C = torch.stack([subject.probability(torch.tensor([token])) for token in token_C]).flatten()
    *_, answer, probability = rows[-1]
    assert answer == first_token_texts(batcher)[int(token_C[share_C.argmax()])]
    assert probability == pytest.approx(float(share_C.max()), rel=1e-5)
    assert {row[4] for row in rows[: int(prompt.length_N[0])]} != {probability}  # the first layer reads otherwise


def test_without_attention_the_table_is_empty(batcher, tmp_path):
    config = tiny_config("model.mixer=rg_lru").model
    recurrent = build_model(config, batcher.tokenizer.vocab_size, seed=0)
    MECHANISM_SENTENCE.write(tmp_path, sentence_table(tmp_path, recurrent, batcher, [0], "seen"))
    table = MECHANISM_SENTENCE.read(tmp_path)
    assert table is not None
    assert table.empty
