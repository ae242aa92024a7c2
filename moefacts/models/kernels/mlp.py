"""The feed-forward block as a function of its weights (a multilayer perceptron with one hidden layer).

Shape legend: N tokens, C tokens of a chunk, D model width, F hidden width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from moefacts.models.kernels.device import is_plain_cpu

_NUMBERS_IN_CACHE = 1 << 18  # the size of a chunk's hidden state, 1 MiB in fp32


def mlp(x_ND: Tensor, up_FD: Tensor, gate_FD: Tensor | None, down_DF: Tensor, activation: str) -> Tensor:
    """Two projections with a nonlinearity in between, shape (N, D). ``gate_FD`` is given for ``swiglu`` only.

    On a CPU, both projections of a chunk of tokens are done before the next chunk, so that its wide hidden state stays
    in the core's cache. The backward pass recomputes the activations instead of keeping them. Gradients are exact.
    """
    if is_plain_cpu(x_ND):
        return _ChunkedMLP.apply(x_ND, up_FD, gate_FD, down_DF, activation)
    return mlp_reference(x_ND, up_FD, gate_FD, down_DF, activation)


def mlp_reference(x_ND: Tensor, up_FD: Tensor, gate_FD: Tensor | None, down_DF: Tensor, activation: str) -> Tensor:
    """The formula of ``mlp``, for all tokens at once."""
    gate_NF = None if gate_FD is None else F.linear(x_ND, gate_FD)
    return F.linear(activate(F.linear(x_ND, up_FD), gate_NF, activation), down_DF)


def activate(up: Tensor, gate: Tensor | None, activation: str) -> Tensor:
    """The nonlinearity between the two projections. ``gate`` is given for ``swiglu`` only."""
    if gate is not None:
        return F.silu(gate) * up
    return F.gelu(up) if activation == "gelu" else F.relu(up)


class _ChunkedMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_ND: Tensor, up_FD: Tensor, gate_FD: Tensor | None, down_DF: Tensor, activation: str) -> Tensor:
        hidden_NF, y_ND = x_ND.new_empty(len(x_ND), len(up_FD)), torch.empty_like(x_ND)
        gates_NF = None if gate_FD is None else torch.empty_like(hidden_NF)
        for part in _chunks(x_ND, up_FD):
            hidden_CF = torch.mm(x_ND[part], up_FD.T, out=hidden_NF[part])
            if gate_FD is None or gates_NF is None:
                active_CF = F.gelu(hidden_CF) if activation == "gelu" else F.relu(hidden_CF)
            else:
                active_CF = F.silu(torch.mm(x_ND[part], gate_FD.T, out=gates_NF[part])).mul_(hidden_CF)
            torch.mm(active_CF, down_DF.T, out=y_ND[part])
        ctx.save_for_backward(x_ND, up_FD, gate_FD, down_DF, hidden_NF, gates_NF)
        ctx.activation = activation
        return y_ND

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_ND: Tensor):
        x_ND, up_FD, gate_FD, down_DF, hidden_NF, gates_NF = ctx.saved_tensors
        grad_x_ND, grad_up_FD, grad_down_DF = torch.empty_like(x_ND), torch.zeros_like(up_FD), torch.zeros_like(down_DF)
        grad_gate_FD: Any = None if gate_FD is None else torch.zeros_like(gate_FD)
        for part in _chunks(x_ND, up_FD):
            x_CD, hidden_CF = x_ND[part], hidden_NF[part]
            grad_CF = torch.mm(grad_ND[part], down_DF)
            if gates_NF is None:
                if ctx.activation == "gelu":
                    active_CF, grad_hidden_CF = F.gelu(hidden_CF), torch.ops.aten.gelu_backward(grad_CF, hidden_CF)
                else:
                    active_CF = F.relu(hidden_CF)
                    grad_hidden_CF = torch.ops.aten.threshold_backward(grad_CF, hidden_CF, 0)
            else:
                opened_CF = F.silu(gates_NF[part])
                active_CF = opened_CF * hidden_CF
                grad_gates_CF = torch.ops.aten.silu_backward(grad_CF * hidden_CF, gates_NF[part])
                grad_hidden_CF = opened_CF.mul_(grad_CF)
                grad_gate_FD.addmm_(grad_gates_CF.T, x_CD)
            torch.mm(grad_hidden_CF, up_FD, out=grad_x_ND[part])
            if gates_NF is not None:
                grad_x_ND[part].addmm_(grad_gates_CF, gate_FD)
            grad_up_FD.addmm_(grad_hidden_CF.T, x_CD)
            grad_down_DF.addmm_(grad_ND[part].T, active_CF)
        return grad_x_ND, grad_up_FD, grad_gate_FD, grad_down_DF, None


def _chunks(x_ND: Tensor, up_FD: Tensor) -> list[slice]:
    rows = max(64, _NUMBERS_IN_CACHE // len(up_FD))
    return [slice(start, start + rows) for start in range(0, len(x_ND), rows)]
