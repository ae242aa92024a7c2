import pytest
import torch

from moefacts.models.kernels import mlp as kernel
from moefacts.models.kernels.mlp import mlp, mlp_reference
from tests.models.kernels.comparison import assert_equal, made_by, normal, values_and_gradients

ACTIVATIONS = ["gelu", "relu", "swiglu"]


def weights(activation, d_model=8, d_hidden=20, dtype=torch.float32):
    up, gate, down = normal(d_hidden, d_model), normal(d_hidden, d_model, seed=1), normal(d_model, d_hidden, seed=2)
    return [None if one is None else one.to(dtype) for one in (up, gate if activation == "swiglu" else None, down)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("num_tokens", [0, 1, 64, 150])  # none, less than, exactly and more than a chunk
def test_chunks_give_the_values_and_gradients_of_the_whole(activation, num_tokens, monkeypatch):
    monkeypatch.setattr(kernel, "_NUMBERS_IN_CACHE", 1)  # chunks of 64 tokens
    given = (normal(num_tokens, 8), *weights(activation))
    ours, theirs = (
        values_and_gradients(lambda *tensors, f=f: f(*tensors, activation), *given) for f in (mlp, mlp_reference)
    )
    assert_equal(ours, theirs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_is_that_of_finite_differences(activation):
    given = [normal(5, 8, dtype=torch.float64), *weights(activation, d_hidden=6, dtype=torch.float64)]
    given = [None if one is None else one.requires_grad_() for one in given]
    assert torch.autograd.gradcheck(lambda *tensors: kernel._ChunkedMLP.apply(*tensors, activation), given)


def test_a_plain_cpu_takes_chunks_and_other_precisions_do_not():
    up, gate, down = weights("gelu")
    x = normal(3, 8).requires_grad_()
    assert made_by(mlp(x, up, gate, down, "gelu")) == "_ChunkedMLPBackward"
    assert made_by(mlp(x.double(), up.double(), gate, down.double(), "gelu")) != "_ChunkedMLPBackward"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert made_by(mlp(x, up, gate, down, "gelu")) != "_ChunkedMLPBackward"
