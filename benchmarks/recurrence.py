"""Ways to run the linear recurrence on one CPU thread, forward and backward, and the cost of a recurrent model's step.

All ways are exact, and a check that they agree comes first. ``chunks`` runs about sqrt(T) chunks side by side and then
carries their ends over. ``doubling`` (Hillis and Steele) needs log2(T) passes over everything.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.setting import Result, Row, Setting, TrainingCase, comparison_rows, no_goal
from benchmarks.timing import compare
from moefacts.models.kernels.linear_recurrence import linear_recurrence, linear_recurrence_reference


def chunks(a_BTR: Tensor, b_BTR: Tensor) -> Tensor:
    """The recurrence as a loop within all chunks at once, followed by a loop over chunks."""
    batch, length, width = b_BTR.shape
    size = round(math.sqrt(length))
    missing = (0, 0, 0, -length % size)
    a, h = (F.pad(x, missing).view(batch, -1, size, width).clone() for x in (a_BTR, b_BTR))
    for t in range(1, size):
        h[:, :, t].addcmul_(a[:, :, t], h[:, :, t - 1])
        a[:, :, t].mul_(a[:, :, t - 1])
    for chunk in range(1, h.shape[1]):
        h[:, chunk].addcmul_(a[:, chunk], h[:, chunk - 1, -1:])
    return h.flatten(1, 2)[:, :length]


def doubling(a_BTR: Tensor, b_BTR: Tensor) -> Tensor:
    """The recurrence in passes that join each position with the one 1, 2, 4, … earlier."""
    a, h, shift = a_BTR, b_BTR, 1
    while shift < h.shape[1]:
        h = torch.cat([h[:, :shift], torch.addcmul(h[:, shift:], a[:, shift:], h[:, :-shift])], dim=1)
        a = torch.cat([a[:, :shift], a[:, shift:] * a[:, :-shift]], dim=1)
        shift *= 2
    return h


class WithGradient(torch.autograd.Function):
    """A scan whose gradient is the same scan from the end."""

    @staticmethod
    def forward(ctx: Any, scan: Callable[[Tensor, Tensor], Tensor], a_BTR: Tensor, b_BTR: Tensor) -> Tensor:
        """Run ``scan``."""
        h_BTR = scan(a_BTR, b_BTR)
        ctx.scan = scan
        ctx.save_for_backward(a_BTR, h_BTR)
        return h_BTR

    @staticmethod
    def backward(ctx: Any, dh_BTR: Tensor) -> tuple[None, Tensor, Tensor]:
        """As in ``linear_recurrence``."""
        a_BTR, h_BTR = ctx.saved_tensors
        later_a_BTR = F.pad(a_BTR[:, 1:], (0, 0, 0, 1))
        db_BTR = ctx.scan(later_a_BTR.flip(1), dh_BTR.flip(1)).flip(1)
        return None, F.pad(db_BTR[:, 1:] * h_BTR[:, :-1], (0, 0, 1, 0)), db_BTR


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "in use: loop, gradient written out": linear_recurrence,
    "loop, gradient by autograd": linear_recurrence_reference,
    "chunks, gradient written out": lambda a, b: WithGradient.apply(chunks, a, b),
    "doubling, gradient written out": lambda a, b: WithGradient.apply(doubling, a, b),
    "doubling, gradient by autograd": doubling,
}


def scans(batch: int, length: int, width: int) -> dict[str, Callable[[], None]]:
    """All ways to run it on the same numbers, after a check that outputs and gradients agree."""
    a = torch.empty(batch, length, width).uniform_(0.9, 0.999).requires_grad_()
    b, dh = torch.randn(batch, length, width, requires_grad=True), torch.randn(batch, length, width)
    results = []
    for way in WAYS.values():
        h = way(a, b)
        results.append((h, *torch.autograd.grad(h, [a, b], dh)))
    for result in results:
        assert all(torch.allclose(x, y, rtol=1e-3, atol=1e-3) for x, y in zip(result, results[0], strict=True))

    def run(way: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], None]:
        return lambda: way(a, b).backward(dh)

    return {name: run(way) for name, way in WAYS.items()}


def run(setting: Setting, batch: int = 128, length: int = 80, widths: tuple[int, ...] = (64, 608)) -> Result:
    """Measure every way at the widths of the laptop and the 44M model, and the training step of both kinds of model."""
    names = ("dense_laptop", "dense_laptop_recurrent")
    comparisons = {f"recurrence, {batch} × {length}, width {width}": scans(batch, length, width) for width in widths}
    comparisons["training step"] = {name: TrainingCase(setting.config(f"model={name}")).stepper() for name in names}
    return compare(comparisons, setting.rounds)


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    return comparison_rows(result, no_goal)
