"""Helpers that compare a fast path with its reference."""

import torch
from torch import Tensor


def values_and_gradients(function, *tensors: Tensor | None) -> list[Tensor]:
    """The result of ``function``, and the gradient of a random projection of it for each tensor given."""
    leaves = [None if tensor is None else tensor.detach().clone().requires_grad_() for tensor in tensors]
    result = function(*leaves)
    direction = torch.randn(result.shape, generator=torch.Generator().manual_seed(9)).to(result.dtype)
    present = [leaf for leaf in leaves if leaf is not None]
    return [result.detach(), *torch.autograd.grad((result * direction).sum(), present, materialize_grads=True)]


def assert_equal(found: list[Tensor], expected: list[Tensor], tolerance: float = 2e-5) -> None:
    """Assert that each found tensor differs by at most ``tolerance`` of the largest number in the expected one."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        if other.numel():
            assert (one - other).abs().max() <= tolerance * max(1.0, other.abs().max().item())


def made_by(result: Tensor) -> str:
    """The name of the operation that made ``result``."""
    return type(result.grad_fn).__name__


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)
