"""A training step in the code path of GPUs, on tensors that have shapes but no values.

Whatever needs a value (``.item()``, ``nonzero``, a boolean index) raises there; on a GPU the host would wait for it.
That is a dry run: kernels of CUDA are not tried.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from moefacts.models.transformer import build_model
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.tokenizer import build_tokenizer
from moefacts.training.step import TrainingStep
from tests.conftest import tiny_config

MIXTURE = ("model=moe_laptop", "model.num_layers=1", "model.d_model=32", "model.num_heads=2", "model.d_head=16")


def without_values(module, mode):
    """Replace what a module has by tensors of the same shapes."""
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                part._parameters[name] = nn.Parameter(mode.from_tensor(parameter.detach()), parameter.requires_grad)
        for name, buffer in list(part._buffers.items()):
            part._buffers[name] = None if buffer is None else mode.from_tensor(buffer)


def two_steps(monkeypatch, population, *overrides):
    config = tiny_config("training.precision=bf16", *overrides)
    tokenizer = build_tokenizer("word", population.pools, population.templates)
    model, device = build_model(config.model, tokenizer.vocab_size, 0), torch.device("cpu")
    from_numpy = torch.from_numpy
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        monkeypatch.setattr(torch, "from_numpy", lambda array: mode.from_tensor(from_numpy(array)))
        without_values(model, mode)
        batcher = Batcher(population, tokenizer, device)
        step = TrainingStep(config, model, device, None, batcher)
        return [step(number, batcher.training_batch(number, 8)) for number in range(2)]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.mixer=rg_lru",),
        ("training.gradient_accumulation=2",),
        MIXTURE,
        (*MIXTURE, "model.moe.num_shared=1", "model.moe.balance.bias_rate=0.001"),
        (*MIXTURE, "model.moe.capacity_factor=1.0"),
        (*MIXTURE, "model.moe.kind=keep_top_k", "model.moe.noise=true"),
        (*MIXTURE, "model.moe.kind=expert_choice"),
        (*MIXTURE, "model.moe.kind=soft"),
        ("model=moe_laptop_switch", *MIXTURE[1:]),
    ],
    ids=lambda overrides: " ".join(one.rpartition(".")[2] for one in overrides if one not in MIXTURE[1:]) or "dense",
)
def test_a_step_needs_no_value_on_the_host(monkeypatch, population, overrides):
    measures = two_steps(monkeypatch, population, *overrides)
    assert all(one.loss.shape == () for one in measures)


def test_a_step_that_needs_one_is_found(monkeypatch, population):
    """Terms on values alone pick their tokens by a mask: the host waits once a step."""
    with pytest.raises(DynamicOutputShapeException):
        two_steps(monkeypatch, population, "uncertainty.label_smoothing=0.1")
