"""The control loss: what is left to a model without its knowledge of persons."""

import numpy as np
import pytest
import torch

from moefacts.experiments.tasks.train import execute
from moefacts.models.transformer import build_model
from moefacts.runs import layout
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.control import control_evaluator, summarize_control
from moefacts.training.evaluation import Evaluator
from tests.conftest import tiny_config
from tests.training.comparing import records, same, weights
from tests.training.test_evaluation import with_logits

ON = "evaluation.interval_control=8"
CONTROL = "eval/seen/control_"


@pytest.fixture(scope="module")
def both(batcher):
    """The evaluators of true and of permuted values, over the same biographies."""
    return Evaluator(batcher, "seen", 96, 16), control_evaluator(batcher, "seen", 96, 16)


@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_model_has_no_knowledge_beyond_noise(batcher, both, seed):
    model = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed)
    true, permuted = (evaluator.measure(model) for evaluator in both)
    record = summarize_control(permuted, true, "seen")
    difference = record["eval/seen/control_loss"] - float(true.attribute_loss.mean(dtype="float64"))
    error = record["eval/seen/control_difference_standard_error"]
    assert 0 < error < 0.03 * batcher.population.no_knowledge_baseline
    assert abs(difference) < 3 * error


def value_tokens(evaluator):
    """(person, attribute, position in the value) and the token of every value token, in the order of the logits."""
    for _, batch, at_N, _ in evaluator.batches:
        width = batch.targets_BT.shape[1]
        for b, t in ((n // width, n % width + 1) for n in at_N.tolist()):
            fact = (int(batch.individual_B[b]), int(batch.attribute_BT[b, t]), int(batch.value_position_BT[b, t]))
            yield fact, int(batch.token_BT[b, t])


SHARE = 0.99


def by_heart(batcher, true, evaluator):
    """A model that gives each person's own values the probability ``SHARE``, and all other tokens the rest.

    It looks at nothing but whom a biography is about, which attribute is asked for, and at which token of the value.
    """
    own = dict(value_tokens(true))
    answers = iter([own.get(fact, batcher.tokenizer.padding_id) for fact, _ in value_tokens(evaluator)])
    vocab = batcher.tokenizer.vocab_size

    def model(token_BT, packing, at):
        probability = torch.full((len(at), vocab), (1 - SHARE) / (vocab - 1), dtype=torch.float64)
        own_N = torch.tensor([next(answers) for _ in at])
        return with_logits(probability.scatter_(1, own_N[:, None], SHARE).log())

    return model


def test_knowing_everything_by_heart_costs_what_the_formula_says_on_permuted_values(batcher, both):
    true, permuted = (evaluator.measure(by_heart(batcher, both[0], evaluator)) for evaluator in both)
    right, wrong = -np.log(SHARE), -np.log((1 - SHARE) / (batcher.tokenizer.vocab_size - 1))
    own, costs = dict(value_tokens(both[0])), {}
    for fact, token in value_tokens(both[1]):
        costs.setdefault(fact[1], []).append(right if token == own.get(fact) else wrong)
    expected = [sum(costs[a]) / 96 for a in range(len(ATTRIBUTES))]
    record = summarize_control(permuted, true, "seen")
    found = [record[f"eval/seen/control_loss/{attribute}"] for attribute in ATTRIBUTES]
    assert found == pytest.approx(expected, rel=1e-4)
    assert min(expected) > 0.99 * wrong  # nobody keeps their own value, so at least one token of each is wrong
    assert record["eval/seen/control_loss"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert true.attribute_loss.max() <= 3.01 * right
    knowledge = record["eval/seen/control_loss"] - true.attribute_loss.mean()
    assert knowledge > 2 * batcher.population.no_knowledge_baseline


def test_the_batch_size_changes_nothing_but_rounding(batcher, both):
    model = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed=0)
    expected = both[1].measure(model).attribute_loss
    found = control_evaluator(batcher, "seen", 96, 7).measure(model).attribute_loss
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return execute(tiny_config(ON, "training.steps=13", f"run.dir={tmp_path_factory.mktemp('runs') / 'on'}"))


def test_it_is_measured_at_multiples_of_its_interval_and_at_the_last_step(run):
    assert [record["step"] for record in records(run) if "eval/seen/control_loss" in record] == [0, 8, 13]
    assert [record["step"] for record in records(run) if "eval/seen/attribute_loss" in record] == [0, 4, 8, 12, 13]
    expected = {"loss", "difference_standard_error", *(f"loss/{attribute}" for attribute in ATTRIBUTES)}
    found = [{key.removeprefix(CONTROL) for key in record if key.startswith(CONTROL)} for record in records(run)]
    assert [keys for keys in found if keys] == [expected] * 3


def test_turning_it_on_changes_no_other_number_and_no_weight(run, tmp_path):
    off = execute(tiny_config("training.steps=13", f"run.dir={tmp_path / 'off'}"))
    without = [{k: v for k, v in record.items() if not k.startswith(CONTROL)} for record in records(run)]
    assert without == records(off)
    assert same(weights(run), weights(off))
    assert layout.checkpoint_steps(run) == layout.checkpoint_steps(off)


def test_the_recorded_loss_is_that_of_the_model_with_the_weights_of_that_step(run):
    from moefacts.experiments.tasks.materials import load_run

    config, materials = load_run(run, 8)
    evaluation = config.evaluation
    evaluator = control_evaluator(materials.batcher, "seen", evaluation.biographies, evaluation.batch_size)
    loss = evaluator.measure(materials.model).attribute_loss.mean(dtype="float64")
    (recorded,) = [
        record["eval/seen/control_loss"]
        for record in records(run)
        if record["step"] == 8 and "eval/seen/control_loss" in record
    ]
    assert recorded == pytest.approx(loss, rel=1e-6)


def test_a_run_that_follows_another_cohort_permutes_that_one(tmp_path):
    cohorts = ("population.cohorts={few:{part_of:seen,start:8,stop:40}}", "evaluation.cohorts=[few,seen]")
    run = execute(tiny_config(ON, *cohorts, f"run.dir={tmp_path / 'run'}"))
    recorded = {key for record in records(run) for key in record if "control" in key}
    assert {key.split("/")[1] for key in recorded} == {"few"}
