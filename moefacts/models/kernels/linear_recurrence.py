"""A linear recurrence with an explicit gradient, which is the same recurrence from the end.

It goes step by step on every device. It never multiplies many ``a``, so nothing can under- or overflow. On a CPU this
is faster than scans of fewer steps (benchmarks/recurrence.py).

Shape legend: B batch, T position, R recurrence width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def linear_recurrence(a_BTR: Tensor, b_BTR: Tensor) -> Tensor:
    """``h[t] = a[t] * h[t - 1] + b[t]`` over the second axis, with ``h[-1] = 0``; shape (B, T, R)."""
    return _scan(a_BTR, b_BTR, False)


def linear_recurrence_reference(a_BTR: Tensor, b_BTR: Tensor) -> Tensor:
    """The formula of ``linear_recurrence``, with its gradient left to autograd."""
    states = [b_BTR[:, 0]]
    for a_BR, b_BR in zip(a_BTR.unbind(1)[1:], b_BTR.unbind(1)[1:], strict=True):
        states.append(a_BR * states[-1] + b_BR)
    return torch.stack(states, dim=1)


@torch.library.custom_op("moefacts::scan", mutates_args=())  # else the compiler would unroll the loop
def _scan(a_BTR: Tensor, b_BTR: Tensor, reverse: bool) -> Tensor:
    """The recurrence or, with ``reverse``, its transpose ``h[t] = a[t + 1] * h[t + 1] + b[t]``, from the end."""
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
    assert not reverse  # the backward pass, which has no gradient of its own
    ctx.save_for_backward(a_BTR, output)


def _backward(ctx: Any, dh_BTR: Tensor) -> tuple[Tensor, Tensor, None]:
    a_BTR, h_BTR = ctx.saved_tensors
    db_BTR = _scan(a_BTR, dh_BTR, True)
    return F.pad(db_BTR[:, 1:] * h_BTR[:, :-1], (0, 0, 1, 0)), db_BTR, None


_scan.register_autograd(_backward, setup_context=_keep)
