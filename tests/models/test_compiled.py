"""A compiled mixture is one graph for any number of real tokens, with the values and gradients of the eager model."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.testing import CompileCounterWithBackend

from moefacts.models.architecture import ModelConfig, MoEConfig
from moefacts.models.packing import Packing
from moefacts.models.transformer import build_model
from tests.models.test_moe import KINDS, moe_config

VOCAB, WIDTH, ROWS = 50, 12, 8


def config(moe: MoEConfig) -> ModelConfig:
    return ModelConfig(
        preset="test", num_layers=1, mixer="attention", d_model=32, num_heads=4, d_head=8, d_hidden=64,
        activation="gelu", tied_embeddings=False, rope_theta=10000.0, norm_epsilon=1e-6, moe=moe,
    )  # fmt: skip


def batches(count):
    random = np.random.default_rng(0)
    for number in range(count):
        lengths = random.integers(5, WIDTH + 1, ROWS)
        tokens = torch.randint(VOCAB, (ROWS, WIDTH), generator=torch.Generator().manual_seed(number))
        yield tokens, Packing(lengths, WIDTH, torch.device("cpu"))


def results(model, forward, tokens, packing):
    """The hidden state, the loads of every router, and the gradients of one objective that involves both."""
    torch.manual_seed(0)
    output = forward(tokens, packing)
    hidden, routings = output.hidden, output.routings
    direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
    objective = (hidden.float() * direction).sum() + sum(
        routing.gates_NE.square().sum() for routing in routings.values()
    )
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(objective, list(parameters.values()), allow_unused=True)
    return (
        hidden,
        torch.stack([routing.load_E for routing in routings.values()]),
        dict(zip(parameters, gradients, strict=True)),
    )


def assert_same_gradients(found, expected, tolerance):
    """Compare the norm of the difference with that of the gradient. The experts' gradients must not vanish."""
    for name, gradient in expected.items():
        assert (gradient is None) == (found[name] is None), name
        if gradient is not None and gradient.any():
            assert (found[name] - gradient).norm() <= tolerance * gradient.norm(), name
    assert expected["layers.0.feed_forward.experts.up"].norm() > 0.1


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def slow(*kinds):
    return [pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]


# One of every path through the layer, since compiling takes its time.
@pytest.mark.parametrize(
    "kind", ["top2 renormalised", "noisy keep_top_k", "expert_choice", *slow("soft", "shared", "capacity 0.6")]
)
def test_in_bf16_every_kind_is_one_graph_for_all_numbers_of_tokens(kind):
    """The path of CUDA uses grouped products and nothing that the host would wait for; else fullgraph would raise."""
    if not hasattr(F, "grouped_mm"):
        pytest.skip("this torch has no grouped_mm")
    model = build_model(config(moe_config(**KINDS[kind])), VOCAB, seed=0)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    numbers_of_tokens = set()
    for tokens, packing in batches(5):
        numbers_of_tokens.add(len(packing.real_N))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            expected, found = (results(model, f, tokens, packing) for f in (model, compiled))
        assert torch.allclose(found[0].float(), expected[0].float(), atol=0.05, rtol=0.05)
        assert torch.equal(found[1], expected[1])
        assert_same_gradients(found[2], expected[2], 0.05)
    assert len(numbers_of_tokens) > 3
    assert counter.frame_count <= 2  # one graph for the first number of tokens, and one for all others


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch reads it where a graph ends
@pytest.mark.parametrize("kind", ["switch", *slow("noisy keep_top_k", "capacity 0.6")])
def test_in_fp32_a_compiled_mixture_equals_the_eager_one(kind):
    model = build_model(config(moe_config(**KINDS[kind])), VOCAB, seed=0)
    compiled = torch.compile(model, backend="aot_eager")
    for tokens, packing in batches(3):
        expected, found = (results(model, f, tokens, packing) for f in (model, compiled))
        assert torch.allclose(found[0], expected[0], atol=1e-5)
        assert torch.equal(found[1], expected[1])
        assert_same_gradients(found[2], expected[2], 1e-4)
