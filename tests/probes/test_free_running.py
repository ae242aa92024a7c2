"""The confidence in a generated value equals that of a loop that generates it one token at a time."""

import numpy as np
import pandas as pd
import pytest
import torch

from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.train import execute
from moefacts.models.transformer import build_model
from moefacts.probes.free_running import free_running_confidence
from moefacts.runs import layout, tables
from moefacts.runs.reader import read_run
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.evaluation import Evaluator
from tests.conftest import tiny_config

MOE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16", "model.moe.kind=keep_top_k"]
LEARNS = ["training.learning_rate=0.01", "training.steps=40", "evaluation.interval=20", "checkpoints.interval=40"]
RUNS = {
    "word": LEARNS,
    "word, mixture": [*LEARNS, *MOE, "model.moe.noise=true"],
    "word, recurrent": [*LEARNS, "model.mixer=rg_lru"],
    "sentencepiece_32k": [*LEARNS, "tokenizer=sentencepiece_32k", "training.learning_rate=0.03"],
}


@pytest.fixture(scope="module", params=RUNS)
def trained(request, tmp_path_factory):
    """A run that knows some tokens of values and does not know others, with its model."""
    path = tmp_path_factory.mktemp("runs") / "run"
    execute(tiny_config(*RUNS[request.param], f"run.dir={path}"))
    return path, load_run(path)[1]


def applied(model):
    return lambda token_BT, packing, at_N: model(token_BT, packing, at_N).logits


def true_values(evaluator, batcher):
    """Biography, attribute, the tokens before the value, the tokens of the value."""
    batch = batcher.assemble(evaluator.plan)
    for row in range(len(evaluator.plan)):
        for attribute in range(len(ATTRIBUTES)):
            places = (batch.attribute_BT[row] == attribute).nonzero().flatten().tolist()
            tokens = batch.token_BT[row].tolist()
            yield row, attribute, tokens[: places[0]], tokens[places[0] : places[-1] + 1]


@torch.no_grad()
def generated(model, before, length):
    """The tokens of the greedy answer and their probabilities, one forward pass per token."""
    tokens, probabilities = list(before), []
    for _ in range(length):
        distribution_V = model(torch.tensor([tokens])).logits[0, -1].double().softmax(-1)
        probabilities.append(float(distribution_V.max()))
        tokens.append(int(distribution_V.argmax()))
    return tokens[len(before) :], probabilities


def test_it_equals_a_loop_that_generates_token_by_token(trained):
    _, materials = trained
    evaluator = Evaluator(materials.batcher, "seen", 30, 7)
    found = free_running_confidence(applied(materials.model), evaluator)
    measures = evaluator.measure(materials.model)
    wrong_at = set()
    for row, attribute, before, value in true_values(evaluator, materials.batcher):
        tokens, probabilities = generated(materials.model, before, len(value))
        assert found[row, attribute] == pytest.approx(
            np.prod(probabilities), rel=1e-3
        )  # float32 products of small numbers
        assert measures.attribute_accuracy[row, attribute] == (tokens == value)
        wrong = [own != true for own, true in zip(tokens, value, strict=True)]
        wrong_at.add("nowhere" if not any(wrong) else "at the end" if wrong.index(True) == len(value) - 1 else "before")
    assert wrong_at == {"nowhere", "at the end", "before"}  # else this test would show little
    assert np.abs(found - measures.value_confidence).max() > 0.01


def test_it_equals_the_teacher_forced_confidence_exactly_where_values_have_one_token(trained):
    _, materials = trained
    evaluator = Evaluator(materials.batcher, "unseen", 32, 7)
    found = free_running_confidence(applied(materials.model), evaluator)
    length_BA = np.zeros(found.shape, int)
    for row, attribute, _, value in true_values(evaluator, materials.batcher):
        length_BA[row, attribute] = len(value)
    forced = evaluator.measure(materials.model).value_confidence
    assert (length_BA == 1).sum() > 10
    assert (found[length_BA == 1] == forced[length_BA == 1]).all()


def test_values_of_one_token_need_no_second_pass(batcher):
    evaluator = Evaluator(batcher, "seen", 20, 8)
    model, calls = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed=0).eval(), []

    def counted(token_BT, packing, at_N):
        calls.append(len(token_BT))
        return applied(model)(token_BT, packing, at_N)

    free_running_confidence(counted, evaluator)
    num_values = [len(value) for *_, value in true_values(evaluator, batcher)]
    assert calls[: len(evaluator.batches)] == [len(batch.token_BT) for _, batch, _, _ in evaluator.batches]
    assert 0 < sum(calls[len(evaluator.batches) :]) <= sum(length - 1 for length in num_values)


def test_the_table_of_a_run_has_it_for_every_cohort(trained):
    path, materials = trained
    table = read_run(path).confidence
    for cohort in ("seen", "unseen"):
        rows = table[table["cohort"] == cohort]
        expected = free_running_confidence(applied(materials.model), Evaluator(materials.batcher, cohort, 32, 256))
        assert rows["free_running_confidence"].to_numpy() == pytest.approx(expected.ravel(), rel=1e-5)


def test_a_table_of_an_earlier_version_is_read_without_it(finished_run, tmp_path):
    written = tables.CONFIDENCE.read(finished_run)
    (tmp_path / layout.PROBES).mkdir()
    earlier = written.drop(columns="free_running_confidence")
    earlier.to_parquet(tables.CONFIDENCE.path(tmp_path), index=False)
    pd.testing.assert_frame_equal(tables.CONFIDENCE.read(tmp_path), earlier)
