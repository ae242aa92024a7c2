import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moefacts.models import packing as packings
from moefacts.models.kernels import causal_attention as kernel
from moefacts.models.kernels.causal_attention import (
    attention_weights,
    causal_attention,
    causal_attention_reference,
    mixed_values,
)
from moefacts.models.packing import Packing
from moefacts.models.rotary import Angles, rotary_angles
from tests.models.kernels.comparison import assert_equal, made_by, normal, values_and_gradients

CPU = torch.device("cpu")


def case(lengths, num_heads=2, d_head=6, d_model=5, width=None):
    """Hidden states of the real tokens, a projection, angles and a packing."""
    width = width or max(lengths)
    packing = Packing(np.array(lengths), width, CPU)
    x, weight = normal(sum(lengths), d_model), normal(3 * num_heads * d_head, d_model, seed=1)
    return x, weight, rotary_angles(width, d_head, 10000.0, CPU), packing


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    num_heads=st.integers(1, 3),
    pairs=st.integers(1, 4),
    rows_per_bucket=st.sampled_from([1, 2, 16]),
)
def test_packed_values_and_gradients_are_those_of_the_formula(lengths, num_heads, pairs, rows_per_bucket):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packings, "ROWS_PER_BUCKET", rows_per_bucket)
        x, weight, angles, packing = case(lengths, num_heads, 2 * pairs, width=max(lengths) + 1)
        ours, theirs = (
            values_and_gradients(lambda x, w, f=f: f(x, w, angles, num_heads, packing), x, weight)
            for f in (causal_attention, causal_attention_reference)
        )
    assert_equal(ours, theirs)


@pytest.mark.parametrize("length", [1, 9])
def test_padded_values_and_gradients_are_those_of_the_formula(length):
    _, weight, angles, _ = case([length])
    ours, theirs = (
        values_and_gradients(lambda x, w, f=f: f(x, w, angles, 2), normal(3, length, 5), weight)
        for f in (causal_attention, causal_attention_reference)
    )
    assert_equal(ours, theirs)


def test_other_devices_pad_what_is_packed(monkeypatch):
    x, weight, angles, packing = case([4, 1, 7])
    expected = values_and_gradients(lambda x, w: causal_attention(x, w, angles, 2, packing), x, weight)
    monkeypatch.setattr(kernel, "is_plain_cpu", lambda _: False)
    assert_equal(values_and_gradients(lambda x, w: causal_attention(x, w, angles, 2, packing), x, weight), expected)


def test_the_packed_gradient_is_that_of_finite_differences():
    _, _, angles, packing = case([3, 1, 4], num_heads=1, d_head=4)
    turns = kernel._turns(Angles(angles.cos_TK.double(), angles.sin_TK.double()))
    given = [normal(*shape, dtype=torch.float64).requires_grad_() for shape in ((8, 3), (12, 3))]
    assert torch.autograd.gradcheck(lambda x, w: kernel._PackedAttention.apply(x, w, turns, packing, 1), given)


def test_only_packed_tokens_on_a_plain_cpu_take_the_fast_path():
    x, weight, angles, packing = case([4, 1, 7])
    weight.requires_grad_()
    assert made_by(causal_attention(x, weight, angles, 2, packing)) == "_PackedAttentionBackward"
    assert made_by(causal_attention(normal(3, 7, 5), weight, angles, 2)) != "_PackedAttentionBackward"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert made_by(causal_attention(x, weight, angles, 2, packing)) != "_PackedAttentionBackward"


def test_attention_weights_of_asked_positions_are_those_of_all_and_are_what_mixes_the_values():
    _, weight, angles, _ = case([9])
    x = normal(3, 9, 5)
    everywhere = attention_weights(x, weight, angles, 2)
    assert torch.allclose(everywhere.sum(dim=3), torch.ones(()))
    assert everywhere.triu(1).abs().max() == 0
    at = torch.tensor([[8, 2], [0, 7], [3, 3]])
    rows = torch.stack([one[:, places] for one, places in zip(everywhere, at, strict=True)])
    assert torch.allclose(attention_weights(x, weight, angles, 2, ask_BQ=at), rows, atol=1e-6)
    assert torch.allclose(mixed_values(everywhere, x, weight), causal_attention(x, weight, angles, 2), atol=1e-5)
