"""Rotary positions (Su et al. 2021, RoFormer, arXiv 2104.09864).

Shape legend: T positions, H heads, K head width, P = K / 2 pairs, X = 3 H K columns; B and G are whatever attention
makes of batch and heads.
"""

from functools import cache

import torch
from torch import Tensor


def rotary_angles(length: int, d_head: int, theta: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's rotation, shape (length, d_head) (RoFormer, eq. 34)."""
    frequency = theta ** -(torch.arange(0, d_head, 2, device=device, dtype=torch.float32) / d_head)
    angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequency
    angle_TK = torch.cat([angle, angle], dim=-1)
    return angle_TK.cos(), angle_TK.sin()


def rotate(x_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Rotate the pairs (k, k + K/2) of every head by the angle of their position."""
    low, high = x_BHTK.chunk(2, dim=-1)
    return (x_BHTK * cos_TK + torch.cat([-high, low], dim=-1) * sin_TK).to(x_BHTK.dtype)


@cache
def pairs_together(num_heads: int, d_head: int) -> Tensor:
    """The order of the X = 3 H K columns of queries, keys and values in which ``turn_in_place`` finds its pairs.

    In every head of queries and keys k + K/2 follows on k; products of queries and keys are the same in any order.
    """
    column_PHK = torch.arange(3 * num_heads * d_head).view(3, num_heads, d_head)
    paired_QHK = column_PHK[:2].unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
    return torch.cat([paired_QHK, column_PHK[2:]]).flatten()


def turns(cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Every position's rotation as complex numbers, shape (T, K / 2); the conjugate turns back."""
    half = cos_TK.shape[-1] // 2
    return torch.complex(cos_TK[:, :half], sin_TK[:, :half])


def turn_in_place(x_GTK: Tensor, turn_TP: Tensor) -> None:
    """What ``rotate`` computes, of heads whose pairs stand together: a complex product, many times faster on a CPU."""
    torch.view_as_complex(x_GTK.unflatten(-1, (-1, 2))).mul_(turn_TP[: x_GTK.shape[-2]])
