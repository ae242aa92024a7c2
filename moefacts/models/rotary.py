"""Rotary positions (Su et al. 2021, RoFormer, arXiv 2104.09864).

Shape legend: T positions, K head width; leading axes are whatever attention makes of batch and heads.
"""

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


def rotate_in_place(x_GTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> None:
    """What ``rotate`` computes, without a copy."""
    length, half = x_GTK.shape[-2], x_GTK.shape[-1] // 2
    cos, sin = cos_TK[:length, :half], sin_TK[:length, :half]
    low, high = x_GTK[..., :half], x_GTK[..., half:]
    low_sin = low * sin
    low.mul_(cos).addcmul_(high, sin, value=-1)
    high.mul_(cos).add_(low_sin)
