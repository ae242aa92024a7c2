import pytest
import torch
import torch.nn.functional as F

from moefacts.models.kernels import expert_products as kernel
from moefacts.models.kernels.expert_products import expert_products, expert_products_reference
from tests.models.kernels.comparison import assert_equal, made_by, normal, values_and_gradients

COUNTS = [[5, 0, 20, 7], [32, 0, 0, 0], [0, 0, 0, 1]]


def weights(activation, d_model=16, d_expert=8):
    up, gate = normal(4, d_expert, d_model), normal(4, d_expert, d_model, seed=1)
    return up, gate if activation == "swiglu" else None, normal(4, d_model, d_expert, seed=2)


def joined(products, count, activation):
    """A function of tensors alone that returns all rows in one."""
    return lambda x, *weights: torch.cat(products(x, torch.tensor(count), *weights, activation))


@pytest.mark.parametrize("activation", ["gelu", "relu", "swiglu"])
@pytest.mark.parametrize("count", COUNTS, ids=str)
@pytest.mark.parametrize("way", ["grouped", "split"])
def test_both_ways_have_the_values_and_gradients_of_a_loop_over_rows(way, count, activation, monkeypatch):
    if way == "grouped" and not hasattr(F, "grouped_mm"):
        pytest.skip("this torch has no grouped_mm")
    monkeypatch.setattr(kernel, "_GROUPED_UP_TO", 1024 if way == "grouped" else 0)
    given = (normal(sum(count), 16), *weights(activation))
    parts = expert_products(given[0], torch.tensor(count), *given[1:], activation)
    assert len(parts) == (1 if way == "grouped" else 4)
    ours, theirs = (
        values_and_gradients(joined(products, count, activation), *given)
        for products in (expert_products, expert_products_reference)
    )
    assert_equal(ours, theirs)


def test_widths_that_grouped_products_cannot_take_are_split():
    up, gate, down = weights("gelu", d_expert=6)
    assert len(expert_products(normal(32, 16), torch.tensor(COUNTS[0]), up, gate, down, "gelu")) == 4


def test_split_experts_take_the_fast_path_of_the_block():
    up, gate, down = (None if one is None else one.requires_grad_() for one in weights("gelu", d_expert=6))
    parts = expert_products(normal(32, 16), torch.tensor(COUNTS[0]), up, gate, down, "gelu")
    assert {made_by(part) for part in parts} == {"_ChunkedMLPBackward"}
