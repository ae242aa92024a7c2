"""The feed-forward block of a decoder layer."""

from torch import Tensor, nn

from moefacts.models.kernels.mlp import mlp
from moefacts.models.packing import picked


class FeedForward(nn.Module):
    """``down(activation(up(x)))``; with ``swiglu``, ``down(silu(gate(x)) * up(x))`` (Shazeer 2020)."""

    def __init__(self, d_model: int, d_hidden: int, activation: str):
        super().__init__()
        self.activation = activation
        self.up = nn.Linear(d_model, d_hidden, bias=False)
        self.gate = nn.Linear(d_model, d_hidden, bias=False) if activation == "swiglu" else None
        self.down = nn.Linear(d_hidden, d_model, bias=False)

    def forward(self, x: Tensor, row_R: Tensor | None = None) -> tuple[Tensor, None]:
        """The block's output for these rows of ``x``, all when None; the None returned says that nothing is routed."""
        x = picked(x, row_R)
        gate_FD = None if self.gate is None else self.gate.weight
        flat_ND = x.reshape(-1, x.shape[-1])
        return mlp(flat_ND, self.up.weight, gate_FD, self.down.weight, self.activation).view_as(x), None
