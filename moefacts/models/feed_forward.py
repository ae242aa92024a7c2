"""The feed-forward block of a decoder layer.

Shape legend: N tokens, D model width, F hidden width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.chunked_feed_forward import chunked_feed_forward
from moefacts.models.plain_cpu import is_plain_cpu


class FeedForward(nn.Module):
    """``down(activation(up(x)))``; with ``swiglu``, ``down(silu(gate(x)) * up(x))`` (Shazeer 2020)."""

    def __init__(self, d_model: int, d_hidden: int, activation: str):
        super().__init__()
        self.activation = activation
        self.up = nn.Linear(d_model, d_hidden, bias=False)
        self.gate = nn.Linear(d_model, d_hidden, bias=False) if activation == "swiglu" else None
        self.down = nn.Linear(d_hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; the last axis is the model width."""
        gate_FD = None if self.gate is None else self.gate.weight
        flat_ND = x.reshape(-1, x.shape[-1])
        return feed_forward(flat_ND, self.up.weight, gate_FD, self.down.weight, self.activation).view_as(x)


def feed_forward(x_ND: Tensor, up_FD: Tensor, gate_FD: Tensor | None, down_DF: Tensor, activation: str) -> Tensor:
    """The block as a function of its weights; ``gate_FD`` is there for ``swiglu`` only."""
    if is_plain_cpu(x_ND):
        return chunked_feed_forward(x_ND, up_FD, gate_FD, down_DF, activation)
    gate_NF = None if gate_FD is None else F.linear(x_ND, gate_FD)
    return F.linear(activate(F.linear(x_ND, up_FD), gate_NF, activation), down_DF)


def activate(up: Tensor, gate: Tensor | None, activation: str) -> Tensor:
    """The nonlinearity between the two projections; ``gate`` is there for ``swiglu`` only."""
    if gate is not None:
        return F.silu(gate) * up
    return F.gelu(up) if activation == "gelu" else F.relu(up)
