"""Elastic weight consolidation: its Fisher information is that of the formula, and so is its gradient."""

import pytest
import torch

from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import prepare
from moefacts.training.finetuning.start_penalty import diagonal_fisher
from moefacts.training.methods import METHODS
from moefacts.training.pack import pack
from tests.conftest import tiny_config

STARTED = ("init.run=x", "init.step=1", "init.source=y")
EWC = (*STARTED, "training.method=ewc", "training.start_penalty=0.3", "method.cohort=seen", "method.batches=2")


def test_the_fisher_information_of_the_unembedding_is_its_closed_form():
    """∂ log p(y) / ∂W_v = (1[v = y] − p_v) h, so F_vd = mean over tokens of p_v (1 − p_v) h_d²."""
    materials = prepare(tiny_config("model.tied_embeddings=false"))
    model, batcher = materials.model.eval(), materials.batcher
    with torch.no_grad():
        model.unembedding.weight.mul_(3)  # so that the distributions are not all alike
    expected, num_tokens = 0, 0
    for number in range(40):
        batch = batcher.cohort_batch("seen", "fisher", number, 4)
        with torch.no_grad():
            output = model(batch.inputs_BT, pack(batch))
            probability_NV = output.logits.softmax(dim=-1)
        for p_V, h_D in zip(probability_NV, output.hidden, strict=True):
            expected = expected + torch.outer(p_V * (1 - p_V), h_D.square())
            num_tokens += 1
    expected = expected / num_tokens
    found = diagonal_fisher(model, batcher, "seen", 40, 4)["unembedding.weight"]
    assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=0.05)
    rows = expected.sum(dim=1)
    largest = rows.argsort(descending=True)[:30]
    assert float((found.sum(dim=1)[largest] / rows[largest]).mean()) == pytest.approx(1, rel=0.1)


def test_the_gradient_is_the_weight_times_the_fisher_information_times_the_way_from_the_start():
    config = tiny_config(*EWC)
    materials = prepare(config)
    model = materials.model
    fisher = diagonal_fisher(model, materials.batcher, "seen", 2, config.training.batch_size)
    method = METHODS["ewc"](config, model, materials.batcher)
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    method.penalty(model, 0).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, 0.3 * fisher[name] * (parameter.detach() - start[name]))
    assert all(float(amount.sum()) > 0 for amount in fisher.values())


def test_measuring_leaves_the_model_as_it_was():
    config = tiny_config(*EWC)
    materials = prepare(config)
    before = {name: parameter.detach().clone() for name, parameter in materials.model.named_parameters()}
    METHODS["ewc"](config, materials.model, materials.batcher)
    assert materials.model.training
    for name, parameter in materials.model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("training.method=ewc", "training.start_penalty=1", "method.batches=2"), "training.method=ewc needs method.cohort"),
        ((*EWC, "method.batches=0"), "method.batches=0 is too small; it must be at least 1"),
        ((*EWC, "method.cohort=old"), "cohort=old is not a valid value"),
        ((*EWC, "parallel=fsdp"), "training.method=ewc does not work with parallel=fsdp"),
        (("method.batches=2",), "method.batches=2 has no effect without training.method=ewc or esft or sparse_memory; leave it out"),
        (("training.method=ewc", "training.start_penalty=1", "method.batches=2", "method.cohort=seen"),
         "training.method=ewc starts from the weights of another run"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, reason):
    with pytest.raises(UserError, match=reason):
        tiny_config(*overrides)
