"""The distribution over all values equals that of a loop that reads every value by itself."""

import numpy as np
import pytest
import torch

from moefacts.experiments.tasks.materials import prepare
from moefacts.probes import decisions
from moefacts.probes.decisions import decisions_table, num_people
from moefacts.probes.value_distributions import beginnings_of, decide, value_log_probabilities
from moefacts.runs import keys, tables
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.evaluation import Evaluator
from tests.conftest import tiny_config

MOE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16"]
FEW = ["population.pools.years=1", "model.num_layers=2"]
MODELS = {
    "dense": [],
    "recurrent": ["model.mixer=rg_lru"],
    "noisy mixture": [*MOE, "model.moe.kind=keep_top_k", "model.moe.noise=true"],
    "sentencepiece": ["tokenizer=sentencepiece_32k", "model.num_layers=1"],
}


def opinionated(*settings):
    """The parts of a run, with a model whose answers differ from person to person although it is untrained."""
    materials = prepare(tiny_config(*FEW, *settings))
    with torch.no_grad():
        materials.model.embedding.weight.mul_(5)
    return materials


@torch.no_grad()
def log_probabilities(model, before, values):
    """ln p of every value after ``before``, each by itself: one row for each value, and a sum over its tokens."""
    rows = [[*before, *ids] for ids in values]
    width = max(map(len, rows))
    hidden = model(torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])).hidden
    logits = model.unembed(hidden[:, len(before) - 1 :]).double().log_softmax(-1)
    return np.array([sum(float(logits[v, n, token]) for n, token in enumerate(ids)) for v, ids in enumerate(values)])


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_it_equals_a_loop_over_values(settings, monkeypatch):
    size = 32_000 if settings == MODELS["sentencepiece"] else 600
    monkeypatch.setattr("moefacts.models.branches._MOST_NUMBERS", 300 * size)  # so that there are several chunks
    materials = opinionated(*settings)
    batcher, model = materials.batcher, materials.model
    model.train()  # as the loop leaves it
    evaluator = Evaluator(batcher, "unseen", 2, 2)
    chance, checked = np.random.default_rng(0), 0
    for rows, found in value_log_probabilities(model, evaluator, beginnings_of(batcher)):
        for place, row in enumerate(rows):
            biography = batcher.assemble(evaluator.plan.rows(rows[place : place + 1]))
            for number, attribute in enumerate(ATTRIBUTES):
                values = batcher.tokenizer.encode([f" {v}" for v in batcher.population.pools.values(attribute)])
                start = int((biography.attribute_BT[0] == number).nonzero()[0])
                chosen = np.unique(chance.integers(0, len(values), 5))
                expected = log_probabilities(model, biography.token_BT[0, :start].tolist(), [values[v] for v in chosen])
                assert found[number].shape == (len(rows), len(values))
                assert found[number][place, chosen] == pytest.approx(expected, rel=1e-4, abs=1e-4), (row, attribute)
                checked += len(chosen)
    assert checked > 40


def test_decisions_follow_from_the_distribution():
    p = np.array([[0.5, 0.25, 0.125], [0.1, 0.1, 0.6]])
    found = decide(np.log(p), np.array([1, 2]))
    assert found.answer.tolist() == [0, 2]
    assert found.confidence == pytest.approx([0.5, 0.6])
    assert found.loss == pytest.approx([-np.log(0.25), -np.log(0.6)])
    assert found.mass == pytest.approx([0.875, 0.8])
    q = p / p.sum(axis=1, keepdims=True)
    assert found.entropy == pytest.approx(-(q * np.log(q)).sum(axis=1))
    sure = decide(np.array([[0.0, -1e4]]), np.array([1]))
    assert (sure.entropy[0], sure.loss[0]) == (0, 1e4)
    asked = decide(np.log([[0.3, 0.1, 0.5], [0.4, 0.2, 0.3]]), np.array([0, 0]), num_abstentions=1)
    assert asked.answer.tolist() == [0, 0]
    assert asked.mass == pytest.approx([0.4, 0.6])
    assert asked.abstained.tolist() == [True, False]
    assert not found.abstained.any()


def test_the_table_has_the_loss_of_an_evaluation_and_everybody_once(tmp_path):
    """The product of the true tokens' probabilities is the same, teacher-forced or not."""
    materials = opinionated()
    model, batcher = materials.model, materials.batcher
    table = decisions_table(model, batcher, ["seen", "unseen"], 7)
    tables.DECISIONS.write(tmp_path, table)
    table = tables.DECISIONS.read(tmp_path)
    assert set(table["step"]) == {7}
    for cohort, people in (("seen", 48), ("unseen", 32)):
        rows = table[table["cohort"] == cohort]
        assert set(rows["individual"]) == set(batcher.population.cohort(cohort))
        assert len(rows) == people * len(ATTRIBUTES)
        measures = Evaluator(batcher, cohort, people, 16).measure(model.eval())
        assert rows[keys.ATTRIBUTE_LOSS].to_numpy() == pytest.approx(measures.attribute_loss.ravel(), rel=1e-4)
        assert (rows["confidence"] >= np.exp(-rows[keys.ATTRIBUTE_LOSS]) - 1e-9).all()
        assert (rows["value_entropy"] <= np.log(rows["num_values"]) + 1e-6).all()
        is_top = np.isclose(rows["confidence"], np.exp(-rows[keys.ATTRIBUTE_LOSS]), rtol=1e-9)
        assert (is_top == (rows["right"] == 1)).all()
    again = decisions_table(model, batcher, ["seen", "unseen"], 7)
    assert (again["confidence"].to_numpy() == table["confidence"].to_numpy()).all()


def test_with_very_many_values_fewer_people_are_asked_about():
    assert num_people(466) == decisions.MOST_PEOPLE
    assert decisions.FEWEST_PEOPLE < num_people(20_000) < decisions.MOST_PEOPLE
    assert num_people(10**9) == decisions.FEWEST_PEOPLE
