from dataclasses import replace

import numpy as np
import pytest
import torch

from moefacts.models.transformer import ModelOutput, build_model
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.evaluation import Evaluator, summarize, summarize_buckets


@pytest.fixture(scope="module")
def model(batcher):
    from tests.conftest import tiny_config

    model = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed=0)
    with torch.no_grad():  # makes the model more confident, so that some answers are right and confidences vary
        model.embedding.weight.mul_(3)
    return model


def with_logits(logits):
    return ModelOutput(logits, unembed=lambda hidden: hidden, routings={}, attention={}, hidden_states=[])


def test_measures_equal_a_loop_over_biographies_and_attributes(batcher, model):
    evaluator = Evaluator(batcher, "seen", 40, batch_size=16)
    measures = evaluator.measure(model)
    batch = batcher.assemble(evaluator.plan)
    log_probability = model(batch.inputs_BT).logits.log_softmax(-1).double().detach()
    for row in range(40):
        for attribute in range(len(ATTRIBUTES)):
            places = [t for t in range(batch.targets_BT.shape[1]) if batch.attribute_BT[row, t + 1] == attribute]
            rows = [log_probability[row, t] for t in places]
            answers = [batch.targets_BT[row, t] for t in places]
            expected = {
                "attribute_loss": -sum(r[a] for r, a in zip(rows, answers, strict=True)),
                "attribute_accuracy": all(r.argmax() == a for r, a in zip(rows, answers, strict=True)),
                "max_probability": np.mean([r.max().exp() for r in rows]),
                "entropy": np.mean([-(r.exp() * r).sum() for r in rows]),
                "value_confidence": np.prod([r.max().exp() for r in rows]),
            }
            for name, value in expected.items():
                assert getattr(measures, name)[row, attribute] == pytest.approx(float(value), rel=1e-4, abs=1e-5)


def test_a_uniform_model_has_the_loss_of_its_vocabulary_and_no_confidence(batcher):
    evaluator = Evaluator(batcher, "unseen", 20, batch_size=8)
    vocab = batcher.tokenizer.vocab_size
    measures = evaluator.measure(lambda _, packing, at: with_logits(torch.zeros(len(at), vocab)))
    num_tokens = sum((batch.attribute_BT >= 0).sum().item() for _, batch, _, _ in evaluator.batches)
    assert measures.attribute_loss.sum() == pytest.approx(num_tokens * np.log(vocab), rel=1e-5)
    assert measures.entropy == pytest.approx(np.full((20, 6), np.log(vocab)), rel=1e-5)
    assert measures.max_probability == pytest.approx(np.full((20, 6), 1 / vocab), rel=1e-5)


def test_an_oracle_is_perfect(batcher):
    evaluator = Evaluator(batcher, "seen", 20, batch_size=8)
    answers = {id(batch): batch.targets_BT.flatten()[at] for _, batch, at, _ in evaluator.batches}
    queue = [answers[id(batch)] for _, batch, _, _ in evaluator.batches]
    vocab = batcher.tokenizer.vocab_size

    def oracle(token_BT, packing, at):
        return with_logits(100.0 * torch.nn.functional.one_hot(queue.pop(0), vocab))

    record = summarize(evaluator.measure(oracle), "seen")
    assert record["eval/seen/attribute_accuracy"] == 1
    assert record["eval/seen/attribute_loss"] == pytest.approx(0, abs=1e-6)


def test_summaries_have_every_measure_overall_and_by_attribute(batcher, model):
    measures = Evaluator(batcher, "seen", 32, 16).measure(model)
    record = summarize(measures, "seen")
    for name in ("attribute_loss", "attribute_accuracy", "max_probability", "entropy"):
        by_attribute = [record[f"eval/seen/{name}/{attribute}"] for attribute in ATTRIBUTES]
        assert record[f"eval/seen/{name}"] == pytest.approx(np.mean(by_attribute))
    known = np.random.default_rng(0).random((32, 6)) < 0.3
    record = summarize(replace(measures, attribute_accuracy=known.astype(np.float32)), "seen")
    for name, value_BA in (("loss", measures.attribute_loss), ("accuracy", known)):
        expected = value_BA.mean(axis=1).std(ddof=1) / np.sqrt(32)
        assert record[f"eval/seen/attribute_{name}_standard_error"] == pytest.approx(expected, rel=1e-4)


def test_bucket_means_equal_a_recomputation_from_each_individual(batcher, model):
    evaluator = Evaluator(batcher, "seen", 40, 16)
    measures = evaluator.measure(model)
    buckets = {"head": range(5), "middle": range(5, 30), "tail": range(30, 48), "nobody": range(48, 48)}
    record = summarize_buckets(measures, evaluator.plan.individual_B, buckets, "seen")
    assert record.keys() == {
        f"eval/seen/bucket/{bucket}/{name}"
        for bucket in ("head", "middle", "tail")
        for name in ("attribute_loss", "attribute_accuracy")
    }
    for key, value in record.items():
        bucket, name = key.split("/")[-2:]
        table = getattr(measures, name)
        rows = [table[row] for row in range(40) if int(evaluator.plan.individual_B[row]) in buckets[bucket]]
        assert value == pytest.approx(float(np.mean(rows)), rel=1e-6)
