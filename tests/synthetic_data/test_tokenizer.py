import pytest

from moefacts.config.presets import compose
from moefacts.errors import UserError
from moefacts.synthetic_data.biography import PieceCatalog
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import training_plan
from moefacts.synthetic_data.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def paper_population():
    return build_population(compose(["scale=paper", "population.size=2000"]).population, seed=0)


@pytest.mark.parametrize("name", ["word", "sentencepiece_32k"])
def test_every_biography_round_trips(name, paper_population):
    tokenizer = build_tokenizer(name, paper_population.pools, paper_population.templates)
    texts = [f" {text}" for text in PieceCatalog(paper_population).texts_of(training_plan(paper_population, 0, 256))]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(texts)] == texts


@pytest.mark.parametrize("name", ["word", "sentencepiece_32k"])
def test_tokenising_pieces_separately_loses_no_text(name, paper_population):
    tokenizer = build_tokenizer(name, paper_population.pools, paper_population.templates)
    catalog = PieceCatalog(paper_population)
    plan = training_plan(paper_population, 1, 64)
    ids = tokenizer.encode(catalog.texts)
    for text, row in zip(catalog.texts_of(plan), catalog.biography_pieces(plan), strict=True):
        assert tokenizer.decode([token for piece in row for token in ids[piece]]) == f" {text}"


def test_the_word_vocabulary_is_closed_and_unknown_words_are_refused(paper_population):
    tokenizer = build_tokenizer("word", paper_population.pools, paper_population.templates)
    with pytest.raises(UserError, match="'Rumpelstiltskin' contains a word that is not in this run's vocabulary"):
        tokenizer.encode([" Rumpelstiltskin"])


def test_sentencepiece_has_32000_pieces(paper_population):
    tokenizer = build_tokenizer("sentencepiece_32k", paper_population.pools, paper_population.templates)
    assert (tokenizer.vocab_size, tokenizer.begin_id, tokenizer.end_id) == (32000, 1, 2)
    assert tokenizer.tokens(tokenizer.encode([" was born in"])[0]) == ["▁was", "▁born", "▁in"]


def test_the_laptop_vocabulary_is_compact(paper_population):
    population = build_population(compose([]).population, seed=0)
    assert build_tokenizer("word", population.pools, population.templates).vocab_size < 1000
