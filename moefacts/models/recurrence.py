"""The recurrent block of Hawk and Griffin (De et al. 2024, arXiv 2402.19427): mixes positions without attention.

Shape legend: B batch, T position, D model width, R recurrence width, G diagonal blocks of the gates, P width of one
(R = G * P), W taps of the convolution.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.config import CONVOLUTION_WIDTH

_SHARPNESS = 8.0  # c of eq. 3


class RecurrentBlock(nn.Module):
    """``out(gelu(gate(x)) * RG-LRU(convolution(value(x))))`` (section 2.3); linear maps and taps without biases."""

    def __init__(self, d_model: int, num_blocks: int, block_width: int):
        super().__init__()
        width = num_blocks * block_width
        self.gate = nn.Linear(d_model, width, bias=False)
        self.value = nn.Linear(d_model, width, bias=False)
        self.taps_RW = nn.Parameter(torch.empty(width, CONVOLUTION_WIDTH))
        self.rg_lru = RGLRU(num_blocks, block_width)
        self.out = nn.Linear(width, d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Mix ``x_BTD`` over earlier positions; same shape out."""
        value_BTR = causal_convolution(self.value(x_BTD), self.taps_RW)
        return self.out(F.gelu(self.gate(x_BTD)) * self.rg_lru(value_BTR))


class RGLRU(nn.Module):
    """The real-gated linear recurrent unit (eq. 1-4), from a state of zeros, in fp32 whatever the precision around it.

    The first position is scaled like all others, as the paper writes it; the authors' code leaves it unscaled.
    ``lambda_R`` is the paper's Λ. It and the gates' biases are vectors, which weight decay leaves alone: pulled to
    zero, Λ would make every state forget within a few tokens.
    """

    def __init__(self, num_blocks: int, block_width: int):
        super().__init__()
        self.recurrence_gate = BlockDiagonalLinear(num_blocks, block_width)
        self.input_gate = BlockDiagonalLinear(num_blocks, block_width)
        self.lambda_R = nn.Parameter(torch.empty(num_blocks * block_width))

    def forward(self, x_BTR: Tensor) -> Tensor:
        """The states, of the shape and precision of ``x_BTR``."""
        with torch.autocast(x_BTR.device.type, enabled=False):
            x = x_BTR.float()
            log_a_BTR = -_SHARPNESS * F.softplus(self.lambda_R) * self.recurrence_gate(x).sigmoid()
            # The floor is for a = 1, where the root's infinite slope would meet the closed gate's zero.
            scale_BTR = (-torch.expm1(2 * log_a_BTR)).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
            states_BTR = linear_recurrence(log_a_BTR.exp(), scale_BTR * self.input_gate(x).sigmoid() * x)
        return states_BTR.to(x_BTR.dtype)


class BlockDiagonalLinear(nn.Module):
    """A linear map in which every block of the input makes its own block of the output."""

    def __init__(self, num_blocks: int, block_width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_blocks, block_width, block_width))  # the last axis is the input
        self.bias = nn.Parameter(torch.empty(num_blocks * block_width))

    def forward(self, x_BTR: Tensor) -> Tensor:
        """Same shape out as in."""
        x_BTGP = x_BTR.unflatten(2, self.weight.shape[:2])
        return torch.einsum("btgp,gqp->btgq", x_BTGP, self.weight).flatten(2) + self.bias


def lambda_for(power_R: Tensor) -> Tensor:
    """The Λ at which an open recurrence gate keeps ``power_R`` of the state at each step: ``a ** c`` of the paper."""
    return (-power_R.log() / _SHARPNESS).expm1().log()


def causal_convolution(x_BTR: Tensor, taps_RW: Tensor) -> Tensor:
    """Every channel's own convolution over its last W positions; the last tap is that of the position itself."""
    padded_BRT = F.pad(x_BTR.transpose(1, 2), (taps_RW.shape[1] - 1, 0))
    return F.conv1d(padded_BRT, taps_RW[:, None], groups=len(taps_RW)).transpose(1, 2)


def linear_recurrence(a_BTR: Tensor, b_BTR: Tensor) -> Tensor:
    """``h[t] = a[t] * h[t - 1] + b[t]`` over the second axis, with ``h[-1] = 0``.

    Step by step: no product of many ``a`` is ever formed, so none can under- or overflow, and on a CPU it is faster
    than scans of fewer steps (benchmarks/recurrence.py).
    """
    return _scan(a_BTR, b_BTR, False)


@torch.library.custom_op("moefacts::scan", mutates_args=())  # one node to the compiler, which would unroll the loop
def _scan(a_BTR: Tensor, b_BTR: Tensor, reverse: bool) -> Tensor:
    """The recurrence; or its transpose, ``h[t] = a[t + 1] * h[t + 1] + b[t]``, from the end."""
    h_BTR = torch.empty_like(b_BTR)
    a, b, h = a_BTR.unbind(1), b_BTR.unbind(1), h_BTR.unbind(1)
    if reverse:
        a, b, h = (*a[:1], *a[:0:-1]), b[::-1], h[::-1]
    h[0].copy_(b[0])
    for t in range(1, len(h)):
        torch.addcmul(b[t], a[t], h[t - 1], out=h[t])
    return h_BTR


@_scan.register_fake
def _(a_BTR: Tensor, b_BTR: Tensor, reverse: bool) -> Tensor:
    return torch.empty_like(b_BTR)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
    a_BTR, _, reverse = inputs
    assert not reverse  # that is the backward pass, which has no gradient of its own
    ctx.save_for_backward(a_BTR, output)


def _backward(ctx: Any, dh_BTR: Tensor) -> tuple[Tensor, Tensor, None]:
    a_BTR, h_BTR = ctx.saved_tensors
    db_BTR = _scan(a_BTR, dh_BTR, True)
    return F.pad(db_BTR[:, 1:] * h_BTR[:, :-1], (0, 0, 1, 0)), db_BTR, None


_scan.register_autograd(_backward, setup_context=_keep)
