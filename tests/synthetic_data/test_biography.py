import numpy as np
import pytest

from moefacts.config.presets import compose
from moefacts.synthetic_data.biography import PieceCatalog, Role, tokenize_pieces
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import evaluation_plan, training_plan
from moefacts.synthetic_data.tokenizer import build_tokenizer


def test_a_biography_states_every_fact_once_with_the_full_name_in_every_sentence(population):
    plan = training_plan(population, 0, 64)
    for text, individual in zip(PieceCatalog(population).texts_of(plan), plan.individual_B, strict=True):
        assert text.count(population.full_name(individual)) == len(ATTRIBUTES)
        assert all(value in text for value in population.facts(individual).values())
        assert text.count(".") == len(ATTRIBUTES)


def test_sentences_follow_the_planned_order_and_template(population):
    plan = evaluation_plan(population, "unseen", 16)
    for row, text in enumerate(PieceCatalog(population).texts_of(plan)):
        facts, name = population.facts(plan.individual_B[row]), population.full_name(plan.individual_B[row])
        sentences = [
            population.templates[ATTRIBUTES[attribute]][template].fill(name, facts[ATTRIBUTES[attribute]])
            for attribute, template in zip(plan.attribute_BA[row], plan.template_BA[row], strict=True)
        ]
        assert text == "".join(sentences).strip()


@pytest.mark.parametrize("tokenizer_name", ["word", "sentencepiece_32k"])
def test_every_piece_ends_up_in_the_flat_table_with_its_role(tokenizer_name):
    population = build_population(compose(["population.size=100"]).population, seed=0)
    tokenizer = build_tokenizer(tokenizer_name, population.pools, population.templates)
    catalog = PieceCatalog(population)
    table = tokenize_pieces(catalog, tokenizer)
    for piece in range(2, len(catalog.texts)):
        token, role, attribute, position = table.field_F4[table.start_Q[piece] :][: table.length_Q[piece]].T
        assert tokenizer.decode(token) == catalog.texts[piece]
        if catalog.attributes[piece] >= 0:
            assert (attribute == catalog.attributes[piece]).all()
            assert position.tolist() == list(range(len(token)))
            assert role.tolist() == [Role.FIRST_VALUE] + [Role.LATER_VALUE] * (len(token) - 1)
        else:
            assert (attribute == -1).all()
            assert (position == -1).all()
    full_stops = table.field_F4[table.field_F4[:, 1] == Role.FULL_STOP, 0]
    assert len(full_stops) == 25 * len(ATTRIBUTES)
    assert np.unique(full_stops).tolist() == tokenizer.encode(["."])[0]
