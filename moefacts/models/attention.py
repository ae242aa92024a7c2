"""Causal self-attention with rotary positions.

Shape legend: B batch, T position, D model width, H heads, K head width, X columns of all heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.packed_attention import packed_attention
from moefacts.models.packing import Packing
from moefacts.models.plain_cpu import is_plain_cpu


class CausalSelfAttention(nn.Module):
    """Multi-head attention; queries, keys and values come from one projection."""

    def __init__(self, d_model: int, num_heads: int, d_head: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * num_heads * d_head, bias=False)
        self.out = nn.Linear(num_heads * d_head, d_model, bias=False)

    def forward(self, x: Tensor, cos_TK: Tensor, sin_TK: Tensor, packing: Packing | None = None) -> Tensor:
        """Mix over earlier positions, of shape (B, T, D) or, with ``packing``, (N, D); same shape out."""
        qkv = self.qkv(x)
        if packing is None:
            return self.out(self._padded(qkv, cos_TK, sin_TK))
        if is_plain_cpu(qkv):
            return self.out(packed_attention(qkv, cos_TK, sin_TK, packing, self.num_heads))
        return self.out(packing.unpad(self._padded(packing.pad(qkv), cos_TK, sin_TK)))

    def _padded(self, qkv_BTX: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        batch, length, _ = qkv_BTX.shape
        qkv_3BHTK = qkv_BTX.view(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q_BHTK, k_BHTK, v_BHTK = qkv_3BHTK.unbind(0)
        q_BHTK, k_BHTK = rotate(q_BHTK, cos_TK, sin_TK), rotate(k_BHTK, cos_TK, sin_TK)
        mixed_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        return mixed_BHTK.transpose(1, 2).reshape(batch, length, -1)


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
