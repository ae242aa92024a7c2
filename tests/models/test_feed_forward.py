import pytest
import torch
import torch.nn.functional as F

from moefacts.models import chunked_feed_forward as chunked
from moefacts.models.feed_forward import FeedForward, activate, feed_forward


@pytest.mark.parametrize("activation", ["gelu", "relu", "swiglu"])
@pytest.mark.parametrize("num_tokens", [0, 1, 64, 150])  # none, less than, exactly and more than a chunk
def test_chunks_give_the_values_and_gradients_of_the_whole(activation, num_tokens, monkeypatch):
    monkeypatch.setattr(chunked, "_NUMBERS_IN_CACHE", 1)  # chunks of 64 tokens
    generator = torch.Generator().manual_seed(0)
    shapes = {"x": (num_tokens, 8), "up": (20, 8), "gate": (20, 8), "down": (8, 20)}
    tensors = {name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in shapes.items()}
    if activation != "swiglu":
        del tensors["gate"]
    x, up, gate, down = (tensors.get(name) for name in shapes)
    ours = feed_forward(x, up, gate, down, activation)
    expected = F.linear(activate(F.linear(x, up), None if gate is None else F.linear(x, gate), activation), down)
    assert torch.allclose(ours, expected, atol=1e-4)
    weight = torch.randn(ours.shape, generator=generator)
    for one, other in zip(
        *(torch.autograd.grad((y * weight).sum(), list(tensors.values())) for y in (ours, expected)), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_other_precisions_take_the_library_path(monkeypatch):
    monkeypatch.setattr("moefacts.models.feed_forward.chunked_feed_forward", None)
    block = FeedForward(8, 20, "gelu").double()
    assert block(torch.zeros(3, 8, dtype=torch.float64)).shape == (3, 8)
