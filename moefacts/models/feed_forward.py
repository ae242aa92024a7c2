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
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))
        activate = F.gelu if self.activation == "gelu" else F.relu
        return self.down(activate(self.up(x)))
