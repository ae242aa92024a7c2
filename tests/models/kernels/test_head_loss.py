import pytest
import torch

from moefacts.models.kernels import head_loss as kernel
from moefacts.models.kernels.head_loss import head_loss, head_loss_reference, token_losses
from tests.models.kernels.comparison import assert_equal, made_by, values_and_gradients


def case(num_tokens=150, d_model=8, size=30, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_tokens, d_model, generator=generator).mul_(scale).requires_grad_()
    weight = torch.randn(size, d_model, generator=generator).requires_grad_()
    return hidden, weight, torch.randint(size, (num_tokens,), generator=generator)


@pytest.mark.parametrize("num_tokens", [1, 64, 150])  # less than, exactly and more than a chunk
def test_chunks_give_the_losses_and_gradients_of_the_whole(num_tokens, monkeypatch):
    monkeypatch.setitem(kernel._ELEMENTS_PER_CHUNK, "cpu", 1)  # chunks of 64 tokens
    hidden, weight, target = case(num_tokens)
    ours, theirs = (
        values_and_gradients(lambda h, w, f=f: 3 * f(h, w, target, 0.01)[0], hidden, weight)
        for f in (head_loss, head_loss_reference)
    )
    assert_equal(ours, theirs)
    ours, theirs = (f(hidden, weight, target, 0.01)[1] for f in (head_loss, head_loss_reference))
    assert_equal([ours], [theirs])


def test_the_loss_is_computed_in_chunks():
    assert made_by(head_loss(*case(), 1.0)[0]) == "_HeadLossBackward"


def test_an_impossible_target_has_a_large_and_finite_loss():
    hidden, weight, target = case(scale=1000.0)
    objective, loss = head_loss(hidden, weight, target, 1.0)
    assert torch.allclose(loss, token_losses(hidden @ weight.T, target), rtol=1e-4)
    assert loss.max() > 1000
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(objective, [hidden, weight]))


def test_reported_losses_carry_no_gradient():
    hidden, weight, target = case()
    assert not head_loss(hidden, weight, target, 1.0)[1].requires_grad


def test_under_autocast_products_are_in_bf16_and_losses_in_fp32():
    hidden, weight, target = case()
    expected = token_losses(hidden @ weight.T, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective, loss = head_loss(hidden, weight, target, 1.0)
    assert loss.dtype == objective.dtype == torch.float32
    assert not torch.equal(loss, expected)
    assert torch.allclose(loss, expected, rtol=0.05, atol=0.1)
    for gradient, leaf in zip(torch.autograd.grad(objective, [hidden, weight]), (hidden, weight), strict=True):
        assert gradient.dtype == torch.float32
        exact = torch.autograd.grad(expected.sum(), leaf, retain_graph=True)[0]
        assert (gradient - exact).norm() < 0.02 * exact.norm()


def test_token_losses_are_unreduced_cross_entropies():
    logits, targets = torch.randn(3, 4, 7), torch.randint(7, (3, 4))
    expected = -logits.log_softmax(-1).gather(2, targets[..., None]).squeeze(2)
    assert torch.allclose(token_losses(logits, targets), expected, atol=1e-6)
