"""The exported tokenizer gives plain text exactly the ids that models are trained on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moefacts.config.presets import compose
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import training_plan
from moefacts.synthetic_data.tokenizer import TOKENIZERS, build_tokenizer

NUM_BIOGRAPHIES = 1000


class Exported:
    """An exported tokenizer, beside the ids of 1,000 biographies as training has them (without the end token)."""

    def __init__(self, name):
        population = build_population(compose(["scale=paper", "population.size=2000"]).population, seed=0)
        self.tokenizer = build_tokenizer(name, population.pools, population.templates)
        self.backend = self.tokenizer.as_backend()
        batcher = Batcher(population, self.tokenizer, torch.device("cpu"))
        plan = training_plan(population, 0, NUM_BIOGRAPHIES)
        batch = batcher.assemble(plan)
        self.texts = batcher.catalog.texts_of(plan)
        self.ids = [row[: length - 1] for row, length in zip(batch.token_BT.tolist(), batch.length_B, strict=True)]
        self.values = [value for pool in ("cities", "companies") for value in getattr(population.pools, pool)]


@pytest.fixture(scope="module", params=TOKENIZERS)
def exported(request):
    return Exported(request.param)


@pytest.mark.parametrize("space", ["", " "])
def test_every_biography_has_the_ids_of_training_and_comes_back(exported, space):
    for text, ids in zip(exported.texts, exported.ids, strict=True):
        assert exported.backend.encode(space + text).ids == ids
        assert exported.backend.decode(ids, skip_special_tokens=True) == f" {text}"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_beginning_of_a_biography_has_the_ids_that_the_biography_begins_with(exported, data):
    row = data.draw(st.integers(0, NUM_BIOGRAPHIES - 1))
    words = exported.texts[row].split(" ")
    prompt = " ".join(words[: data.draw(st.integers(1, len(words)))])
    before, after = (data.draw(st.text(" \t\n\r\f\u00a0\u2009", max_size=3)) for _ in range(2))
    ids = exported.backend.encode(before + prompt + after).ids
    assert ids == exported.ids[row][: len(ids)]
    assert exported.backend.decode(ids) == f" {prompt}"


@settings(max_examples=300, deadline=None)
@given(text=st.text() | st.text("Ab 's.,\u0301\n", max_size=12))
def test_any_text_has_ids_and_spaces_around_it_make_no_difference(exported, text):
    ids = exported.backend.encode(text).ids
    assert ids[0] == exported.tokenizer.begin_id
    assert ids[1:] == exported.backend.encode(text, add_special_tokens=False).ids
    assert all(exported.backend.encode(other).ids == ids for other in (f" {text}", f"{text} ", f"\n{text}\t"))


@pytest.mark.parametrize("typed", ["{0}", "{0} ", " {0}", "{0}{0} ", "{0} {0}\n"])
def test_a_begin_token_that_is_typed_is_the_one_that_is_put_there(exported, typed):
    (begin,) = exported.tokenizer.tokens([exported.tokenizer.begin_id])
    for text, ids in [*zip(exported.texts[:50], exported.ids[:50], strict=True), ("", [exported.tokenizer.begin_id])]:
        assert exported.backend.encode(typed.format(begin) + text).ids == ids


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_special_tokens_elsewhere_are_those_tokens_and_what_is_between_them_is_text(exported, data):
    """The reference is how the library itself cuts a text at special tokens before it does anything else."""
    tokenizer = exported.tokenizer
    begin, *others = tokenizer.tokens([tokenizer.begin_id, tokenizer.end_id, tokenizer.unknown_id])
    words = st.sampled_from([begin, *others, " ", "  ", ".", ",", "'s", "Annie", " was", "born", "<", "s>", "\n"])
    text = data.draw(st.sampled_from(["Annie", ".", *others])) + "".join(data.draw(st.lists(words, max_size=8)))
    ids = exported.backend.encode(text).ids
    exported.backend.encode_special_tokens = False
    reference = exported.backend.encode(text).ids
    exported.backend.encode_special_tokens = True
    assert ids == reference


def test_a_value_by_itself_has_the_ids_that_it_has_in_a_biography(exported):
    for value, ids in zip(exported.values, exported.tokenizer.encode([f" {v}" for v in exported.values]), strict=True):
        assert exported.backend.encode(value, add_special_tokens=False).ids == ids


def test_an_accent_may_be_a_character_of_its_own(exported):
    composed, apart = (exported.backend.encode(text).tokens for text in ("Bogot\u00e1", "Bogota\u0301"))
    assert composed == apart
    assert "<unk>" not in composed


def test_the_tokenizer_itself_stays_as_it_was(exported):
    assert exported.tokenizer.encode(["'s", ".", " was", ""]) == [
        exported.backend.encode(text, add_special_tokens=False).ids for text in ("'s", ".", "was", "")
    ]
    assert exported.tokenizer.decode(exported.tokenizer.encode([" was born"])[0]) == " was born"
