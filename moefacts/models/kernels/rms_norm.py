"""Root-mean-square normalisation (Zhang & Sennrich 2019), with a short backward pass on CPUs.

Shape legend: N tokens, D model width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from moefacts.models.kernels.device import is_plain_cpu


def rms_norm(x: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
    """Normalise the last axis."""
    if is_plain_cpu(x):
        return _RMSNorm.apply(x.reshape(-1, x.shape[-1]), weight_D, epsilon).view_as(x)
    return F.rms_norm(x, (x.shape[-1],), weight_D, epsilon)  # one kernel on CUDA and when compiled


def rms_norm_reference(x: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
    """The formula: ``x / sqrt(mean(x^2) + epsilon) * weight``."""
    return x / (x.square().mean(dim=-1, keepdim=True) + epsilon).sqrt() * weight_D


class _RMSNorm(torch.autograd.Function):
    """A norm with few passes over the data. On a CPU, PyTorch needs many."""

    @staticmethod
    def forward(ctx, x_ND: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        norm_N1 = torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True)
        inverse_N1 = norm_N1.square_().div_(x_ND.shape[-1]).add_(epsilon).rsqrt_()
        unit_ND = x_ND * inverse_N1
        ctx.save_for_backward(unit_ND, weight_D, inverse_N1)
        return unit_ND * weight_D

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_ND: Tensor):
        unit_ND, weight_D, inverse_N1 = ctx.saved_tensors
        product_ND = grad_ND * unit_ND
        minus_mean_N1 = torch.mv(product_ND, weight_D).div_(-len(weight_D))[:, None]
        grad_x_ND = (grad_ND * weight_D).addcmul_(unit_ND, minus_mean_N1).mul_(inverse_N1)
        return grad_x_ND, product_ND.sum(dim=0), None
