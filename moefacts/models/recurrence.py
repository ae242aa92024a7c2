"""The recurrent block of Hawk and Griffin (De et al. 2024, arXiv 2402.19427): mixes positions without attention.

Shape legend: B batch, T position, N real tokens, D model width, R recurrence width, G diagonal blocks of the gates,
P width of one (R = G * P), W taps of the convolution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.architecture import CONVOLUTION_WIDTH
from moefacts.models.kernels.device import without_autocast
from moefacts.models.kernels.linear_recurrence import linear_recurrence
from moefacts.models.packing import Packing
from moefacts.models.rotary import Angles

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

    def forward(
        self,
        x: Tensor,
        angles: Angles | None = None,
        packing: Packing | None = None,
        pattern_BHTT: Tensor | None = None,
        ask_BQ: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Mix over earlier positions. The arguments are those of every mixer (see ``layer.DecoderLayer``).

        This mixer uses no angles, and it has no attention to replace or to return.
        """
        assert pattern_BHTT is None
        x_BTD = x if packing is None else packing.pad(x)
        value_BTR = causal_convolution(self.value(x_BTD), self.taps_RW)
        y_BTD = self.out(F.gelu(self.gate(x_BTD)) * self.rg_lru(value_BTR))
        return y_BTD if packing is None else packing.unpad(y_BTD), None


class RGLRU(nn.Module):
    """The real-gated linear recurrent unit (eq. 1-4), which starts from a state of zeros and computes in fp32.

    The first position is scaled like all others, as in the paper; the authors' code leaves it unscaled. ``lambda_R`` is
    the paper's Λ. Weight decay spares it and the gates' biases, because they are vectors. With a Λ near zero every
    state would forget within a few tokens.
    """

    def __init__(self, num_blocks: int, block_width: int):
        super().__init__()
        self.recurrence_gate = BlockDiagonalLinear(num_blocks, block_width)
        self.input_gate = BlockDiagonalLinear(num_blocks, block_width)
        self.lambda_R = nn.Parameter(torch.empty(num_blocks * block_width))

    def forward(self, x_BTR: Tensor) -> Tensor:
        """The states, of the shape and precision of ``x_BTR``."""
        with without_autocast(x_BTR):
            states_BTR = linear_recurrence(*self.gated(x_BTR))
        return states_BTR.to(x_BTR.dtype)

    def gated(self, x_BTR: Tensor) -> tuple[Tensor, Tensor]:
        """What every state keeps of the one before, and what is added to it, in fp32; outside of autocast."""
        x = x_BTR.float()
        log_a_BTR = -_SHARPNESS * F.softplus(self.lambda_R) * self.recurrence_gate(x).sigmoid()
        # The floor avoids NaN at a = 1, where the root's infinite slope would meet the closed gate's zero.
        scale_BTR = (-torch.expm1(2 * log_a_BTR)).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
        return log_a_BTR.exp(), scale_BTR * self.input_gate(x).sigmoid() * x


class BlockDiagonalLinear(nn.Module):
    """A linear map in which every block of the input makes its own block of the output."""

    def __init__(self, num_blocks: int, block_width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_blocks, block_width, block_width))  # the last axis is the input
        self.bias = nn.Parameter(torch.empty(num_blocks * block_width))

    def forward(self, x_BTR: Tensor) -> Tensor:
        """The map of ``x_BTR``, of the same shape."""
        x_BTGP = x_BTR.unflatten(2, self.weight.shape[:2])
        return torch.einsum("btgp,gqp->btgq", x_BTGP, self.weight).flatten(2) + self.bias


def lambda_for(power_R: Tensor) -> Tensor:
    """The Λ at which an open recurrence gate keeps ``power_R`` of the state at each step: ``a ** c`` of the paper."""
    return (-power_R.log() / _SHARPNESS).expm1().log()


def causal_convolution(x_BTR: Tensor, taps_RW: Tensor) -> Tensor:
    """Convolve each channel with its own taps over the last W positions. The last tap is for the position itself."""
    padded_BRT = F.pad(x_BTR.transpose(1, 2), (taps_RW.shape[1] - 1, 0))
    return F.conv1d(padded_BRT, taps_RW[:, None], groups=len(taps_RW)).transpose(1, 2)
