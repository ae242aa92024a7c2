"""Rotary positions (Su et al. 2021, RoFormer, arXiv 2104.09864).

Shape legend: B batch, T position, H heads, K head width.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Angles(NamedTuple):
    """Cosine and sine of every position's rotation, shape (T, K) each; both halves of K are equal."""

    cos_TK: Tensor
    sin_TK: Tensor


def rotary_angles(length: int, d_head: int, theta: float, device: torch.device) -> Angles:
    """The rotations of the positions 0 to ``length`` - 1 (RoFormer, eq. 34)."""
    frequency = theta ** -(torch.arange(0, d_head, 2, device=device, dtype=torch.float32) / d_head)
    angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequency
    angle_TK = torch.cat([angle, angle], dim=-1)
    return Angles(angle_TK.cos(), angle_TK.sin())


def rotate(x_BHTK: Tensor, angles: Angles) -> Tensor:
    """Rotate the pairs (k, k + K/2) of every head by the angle of their position."""
    low, high = x_BHTK.chunk(2, dim=-1)
    turned_BHTK = x_BHTK * angles.cos_TK + torch.cat([-high, low], dim=-1) * angles.sin_TK
    return turned_BHTK.to(x_BHTK.dtype)
