"""Strangers and people with names of unseen parts come after everybody else, who stays the same."""

import numpy as np
import pytest
import torch

from moefacts.config.identity import digest
from moefacts.config.presets import compose, overrides_of
from moefacts.errors import UserError
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import strangers_plan
from moefacts.synthetic_data.tokenizer import build_tokenizer
from tests.conftest import tiny_config

ON = ("population.strangers=40", "population.unseen_parts=20", "population.held_out_names=3")


@pytest.fixture(scope="module")
def wider():
    return build_population(tiny_config(*ON).population, seed=0)


def test_everybody_else_is_the_same_person(population, wider):
    number = len(population)
    for table in ("name_P3", "value_PA", "split_PA"):
        assert np.array_equal(getattr(wider, table)[:number], getattr(population, table))
    assert wider.cohorts == {**population.cohorts, "strangers": range(88, 128), "unseen_parts": range(128, 148)}
    assert [wider.cohort_of(i) for i in (47, 88, 147)] == ["seen", "strangers", "unseen_parts"]
    assert len({wider.full_name(i) for i in range(len(wider))}) == len(wider) == 148
    assert wider.fingerprint != population.fingerprint


def test_nobody_else_has_a_name_part_of_people_with_unseen_parts(wider):
    parts = [set(wider.full_name(i).split()) for i in wider.cohort("unseen_parts")]
    others = {part for i in range(128) for part in wider.full_name(i).split()}
    assert set().union(*parts).isdisjoint(others)
    assert len(set().union(*parts)) == 9  # 3 first, 3 middle and 3 last names
    assert (wider.name_P3[:128] < 12).all()


def test_without_them_a_run_keeps_its_people_and_its_identity(population):
    """Golden: both are those of the version before."""
    assert digest(tiny_config()) == "44091f43"
    assert population.fingerprint.startswith("465e67bd")
    assert digest(tiny_config(ON[0])) != digest(tiny_config())
    config = tiny_config(*ON, "evaluation.cohorts=[seen,unseen,unseen_parts,strangers]")
    assert compose(overrides_of(config)) == config


def test_no_stranger_comes_twice_before_all_have_come(wider):
    shown = np.concatenate([strangers_plan(wider, step, 6).individual_B for step in range(7)])
    assert sorted(shown[:40]) == list(wider.cohort("strangers"))
    assert shown[40:].tolist() == [88, 89]
    first, again = (strangers_plan(wider, 3, 6) for _ in range(2))
    assert np.array_equal(first.template_BA, again.template_BA)
    held_out = wider.splits.held_out_SH[wider.split_PA[first.individual_B[:, None], first.attribute_BA]]
    assert not (held_out == first.template_BA[:, :, None]).any()


@pytest.mark.parametrize("name", ["word", "sentencepiece_32k"])
def test_an_abstention_is_a_value_after_the_others_and_the_vocabulary_grows_by_its_word(population, name):
    plain, taught = (build_tokenizer(name, population.pools, population.templates, words) for words in ((), ("[IDK]",)))
    assert taught.vocab_size - plain.vocab_size == (name == "word")
    batcher = Batcher(
        population, taught, torch.device("cpu"), abstentions=("unknown",) if name != "word" else ("[IDK]",)
    )
    start, length = batcher.catalog.texts.index(" 1 January 1900"), len(population.pools.birth_dates)
    word = batcher.catalog.texts[start + length]
    assert word == f" {batcher.abstentions[0]}"
    assert batcher.catalog.roles[start + length] == Role.FIRST_VALUE
    assert len(taught.encode([word])[0]) == 1
    assert taught.decode(taught.encode([word])[0]) == word


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["population.unseen_parts=28", "population.held_out_names=3"], "held_out_names=3 make 27; hold out more"),
        (["population.held_out_names=3"], "no effect without population.unseen_parts"),
        (["evaluation.cohorts=[seen,unseen_parts]"], "cohort unseen_parts is empty; raise population.unseen_parts"),
        (["population.strangers=-1"], "population.strangers=-1"),
        (["population.strangers=4", "population.cohorts={strangers:{stop:4}}"], "be none of seen, unseen, new, strangers"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_gets_one_line(overrides, complaint):
    with pytest.raises(UserError, match=complaint):
        tiny_config(*overrides)


def test_more_names_than_the_files_have_are_refused():
    full = "population.pools.first_names=899"
    with pytest.raises(UserError, match=r"held_out_names=2 is too large for population.pools.first_names=899"):
        build_population(tiny_config("population.unseen_parts=4", "population.held_out_names=2", full).population, 0)
    with pytest.raises(
        UserError, match="2000 strangers and 8 new people needs 2088 names, but the pools make only 1728"
    ):
        build_population(tiny_config("population.strangers=2000").population, 0)
