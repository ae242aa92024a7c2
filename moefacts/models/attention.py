"""Causal self-attention with rotary positions.

Shape legend: B batch, T position, D model width, H heads, K head width, X columns of all heads, V vocabulary, N real
tokens, M chosen ones, Q positions asked about.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.chosen_attention import chosen_attention
from moefacts.models.packed_attention import packed_attention
from moefacts.models.packing import Packing
from moefacts.models.plain_cpu import is_plain_cpu
from moefacts.models.rotary import pairs_together, rotate, turns


class CausalSelfAttention(nn.Module):
    """Multi-head attention; queries, keys and values come from one projection."""

    def __init__(self, d_model: int, num_heads: int, d_head: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * num_heads * d_head, bias=False)
        self.out = nn.Linear(num_heads * d_head, d_model, bias=False)

    def forward(
        self,
        x: Tensor,
        cos_TK: Tensor,
        sin_TK: Tensor,
        packing: Packing | None = None,
        at_M: Tensor | None = None,
        token_N: Tensor | None = None,
        pattern_BHTT: Tensor | None = None,
    ) -> Tensor:
        """Mix over earlier positions, of shape (B, T, D) or, with ``packing``, (N, D); same shape out.

        With ``at_M`` only these rows of the flattened result, shape (M, D). With ``token_N``, for packed tokens on a
        plain CPU only, ``x`` has a row a word of the vocabulary, shape (V, D), and ``token_N`` says which a token is.
        ``pattern_BHTT`` takes the place of the attention that queries and keys would make.
        """
        if pattern_BHTT is not None:
            mixed = self._with_pattern(x, pattern_BHTT, packing)
            return self.out(mixed if at_M is None else mixed.flatten(0, -2).index_select(0, at_M))
        assert token_N is None or (packing is not None and is_plain_cpu(x))
        if packing is not None and is_plain_cpu(x):
            order_X = pairs_together(self.num_heads, self.out.in_features // self.num_heads)
            qkv_NX, turn_TP = F.linear(x, self.qkv.weight.index_select(0, order_X)), turns(cos_TK, sin_TK)
            if token_N is not None:
                qkv_NX = F.embedding(token_N, qkv_NX)
            if at_M is not None and not torch.is_grad_enabled():
                return self.out(chosen_attention(qkv_NX, at_M, turn_TP, packing, self.num_heads))
            mixed = packed_attention(qkv_NX, turn_TP, packing, self.num_heads)
        elif packing is not None:
            mixed = packing.unpad(self._padded(packing.pad(self.qkv(x)), cos_TK, sin_TK))
        else:
            mixed = self._padded(self.qkv(x), cos_TK, sin_TK)
        return self.out(mixed if at_M is None else mixed.flatten(0, -2).index_select(0, at_M))

    def _with_pattern(self, x: Tensor, pattern_BHTT: Tensor, packing: Packing | None) -> Tensor:
        value = F.linear(x, self.qkv.weight[-self.out.in_features :])
        value_BTX = value if packing is None else packing.pad(value)
        value_BHTK = value_BTX.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        mixed_BTX = (pattern_BHTT.to(value.dtype) @ value_BHTK).transpose(1, 2).flatten(2)
        return mixed_BTX if packing is None else packing.unpad(mixed_BTX)

    def weights(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, at_BQ: Tensor) -> Tensor:
        """The attention that the forward pass mixes by, from the positions ``at_BQ`` only, shape (B, H, Q, T)."""
        q_BHTK, k_BHTK, _ = self._queries_keys_values(self.qkv(x_BTD), cos_TK, sin_TK)
        q_BHQK = q_BHTK.take_along_dim(at_BQ[:, None, :, None], dim=2) * q_BHTK.shape[-1] ** -0.5
        is_later_BQT = torch.arange(x_BTD.shape[1], device=x_BTD.device) > at_BQ[:, :, None]
        return (q_BHQK @ k_BHTK.transpose(2, 3)).masked_fill_(is_later_BQT[:, None], -torch.inf).softmax(dim=-1)

    def _queries_keys_values(self, qkv_BTX: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q_BHTK, k_BHTK, v_BHTK = qkv_BTX.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return rotate(q_BHTK, cos_TK, sin_TK), rotate(k_BHTK, cos_TK, sin_TK), v_BHTK

    def _padded(self, qkv_BTX: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        q_BHTK, k_BHTK, v_BHTK = self._queries_keys_values(qkv_BTX, cos_TK, sin_TK)
        mixed_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        return mixed_BHTK.transpose(1, 2).flatten(2)
