"""The feed-forward block of a decoder layer."""

import torch.nn.functional as F
from torch import Tensor, nn


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
        gate = None if self.gate is None else self.gate(x)
        return self.down(activate(self.up(x), gate, self.activation))


def activate(up: Tensor, gate: Tensor | None, activation: str) -> Tensor:
    """The nonlinearity between the two projections; ``gate`` is there for ``swiglu`` only."""
    if gate is not None:
        return F.silu(gate) * up
    return F.gelu(up) if activation == "gelu" else F.relu(up)
