import pytest
import torch
from moefacts.models.head_loss import scaled_token_losses

from moefacts.models import head_loss
from moefacts.models.transformer import token_losses


def case(num_tokens=150, d_model=8, size=30, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_tokens, d_model, generator=generator).mul_(scale).requires_grad_()
    weight = torch.randn(size, d_model, generator=generator).requires_grad_()
    return hidden, weight, torch.randint(size, (num_tokens,), generator=generator)


@pytest.mark.parametrize("num_tokens", [1, 64, 150])  # less than, exactly and more than a chunk
def test_chunks_give_the_losses_and_gradients_of_the_whole(num_tokens, monkeypatch):
    monkeypatch.setitem(head_loss._ELEMENTS_PER_CHUNK, "cpu", 1)  # chunks of 64 tokens
    hidden, weight, target = case(num_tokens)
    objective, loss = scaled_token_losses(hidden, weight, target, 0.01)
    expected = token_losses(hidden @ weight.T, target)
    assert torch.allclose(loss, expected, atol=1e-5)
    assert torch.allclose(objective, expected.sum() * 0.01, atol=1e-5)
    ours = torch.autograd.grad(objective * 3, [hidden, weight])
    theirs = torch.autograd.grad(expected.sum() * 0.03, [hidden, weight])
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_an_impossible_target_has_a_large_and_finite_loss():
    hidden, weight, target = case(scale=1000.0)
    objective, loss = scaled_token_losses(hidden, weight, target, 1.0)
    assert torch.allclose(loss, token_losses(hidden @ weight.T, target), rtol=1e-4)
    assert loss.max() > 1000
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(objective, [hidden, weight]))


def test_reported_losses_carry_no_gradient():
    hidden, weight, target = case()
    assert not scaled_token_losses(hidden, weight, target, 1.0)[1].requires_grad


def test_under_autocast_products_are_in_bf16_and_losses_in_fp32():
    hidden, weight, target = case()
    expected = token_losses(hidden @ weight.T, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective, loss = scaled_token_losses(hidden, weight, target, 1.0)
    assert loss.dtype == objective.dtype == torch.float32
    assert not torch.equal(loss, expected)
    assert torch.allclose(loss, expected, rtol=0.05, atol=0.1)
    for gradient, leaf in zip(torch.autograd.grad(objective, [hidden, weight]), (hidden, weight), strict=True):
        assert gradient.dtype == torch.float32
        exact = torch.autograd.grad(expected.sum(), leaf, retain_graph=True)[0]
        assert (gradient - exact).norm() < 0.02 * exact.norm()
