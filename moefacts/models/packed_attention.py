"""Causal attention of packed sequences on a CPU: bucket by bucket, so that scores stay in cache and little is padding.

PyTorch's own CPU kernel works on padded sequences and is slow for narrow heads; this one also rotates queries and keys
in the copy that it makes anyway. Forward and backward are those of softmax attention (Vaswani et al. 2017, eq. 1).

Shape legend: N real tokens, H heads, K head width, R rows of a bucket, G = R * H, T its width.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moefacts.models.packing import Bucket, Packing


def packed_attention(qkv_NX: Tensor, cos_TK: Tensor, sin_TK: Tensor, packing: Packing, num_heads: int) -> Tensor:
    """Attention over earlier tokens of the same sequence; ``qkv_NX`` has X = 3 H K columns, the result H K."""
    return _PackedAttention.apply(qkv_NX, cos_TK, sin_TK, packing, num_heads)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv_NX: Tensor, cos_TK: Tensor, sin_TK: Tensor, packing: Packing, num_heads: int) -> Tensor:
        out_NX = qkv_NX.new_empty(len(qkv_NX), qkv_NX.shape[1] // 3)
        saved = []
        for bucket in packing.buckets:
            qkv_3GTK = _heads(qkv_NX[bucket.start : bucket.stop].index_select(0, bucket.token_C), bucket, 3, num_heads)
            _rotate_in_place(qkv_3GTK[:2], cos_TK, sin_TK)
            q_GTK, k_GTK, v_GTK = qkv_3GTK
            mask_TT = qkv_NX.new_full((bucket.width, bucket.width), -math.inf).triu_(1)
            score_GTT = torch.baddbmm(mask_TT, q_GTK, k_GTK.transpose(1, 2), alpha=q_GTK.shape[-1] ** -0.5)
            weight_GTT = score_GTT.softmax(dim=-1)
            mixed_CX = _tokens(torch.bmm(weight_GTT, v_GTK)[None], bucket, num_heads)
            torch.index_select(mixed_CX, 0, bucket.cell_N, out=out_NX[bucket.start : bucket.stop])
            saved += [qkv_3GTK, weight_GTT]
        ctx.save_for_backward(cos_TK, sin_TK, *saved)
        ctx.packing, ctx.num_heads = packing, num_heads
        return out_NX

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_NX: Tensor):
        cos_TK, sin_TK, *saved = ctx.saved_tensors
        grad_qkv_NX = grad_NX.new_empty(len(grad_NX), 3 * grad_NX.shape[1])
        for number, bucket in enumerate(ctx.packing.buckets):
            qkv_3GTK, weight_GTT = saved[2 * number : 2 * number + 2]
            q_GTK, k_GTK, v_GTK = qkv_3GTK
            padded_CX = grad_NX.new_zeros(bucket.num_rows * bucket.width, grad_NX.shape[1])
            padded_CX.index_copy_(0, bucket.cell_N, grad_NX[bucket.start : bucket.stop])
            grad_GTK = _heads(padded_CX, bucket, 1, ctx.num_heads)[0]
            grads_3GTK = torch.empty_like(qkv_3GTK)
            torch.bmm(weight_GTT.transpose(1, 2), grad_GTK, out=grads_3GTK[2])
            grad_weight_GTT = torch.bmm(grad_GTK, v_GTK.transpose(1, 2))
            grad_score_GTT = torch._softmax_backward_data(grad_weight_GTT, weight_GTT, -1, weight_GTT.dtype)
            torch.bmm(grad_score_GTT, k_GTK, out=grads_3GTK[0])
            torch.bmm(grad_score_GTT.transpose(1, 2), q_GTK, out=grads_3GTK[1])
            grads_3GTK[:2].mul_(q_GTK.shape[-1] ** -0.5)
            _rotate_in_place(grads_3GTK[:2], cos_TK, -sin_TK)  # a rotation's transpose turns back
            grads_CX = _tokens(grads_3GTK, bucket, ctx.num_heads)
            torch.index_select(grads_CX, 0, bucket.cell_N, out=grad_qkv_NX[bucket.start : bucket.stop])
        return grad_qkv_NX, None, None, None, None


def _heads(x_CX: Tensor, bucket: Bucket, parts: int, num_heads: int) -> Tensor:
    """From one row a cell to shape (parts, G, T, K), contiguous."""
    x_RTPHK = x_CX.view(bucket.num_rows, bucket.width, parts, num_heads, -1)
    return x_RTPHK.permute(2, 0, 3, 1, 4).reshape(parts, bucket.num_rows * num_heads, bucket.width, -1)


def _tokens(x_PGTK: Tensor, bucket: Bucket, num_heads: int) -> Tensor:
    """Undo ``_heads``."""
    x_PRHTK = x_PGTK.view(len(x_PGTK), bucket.num_rows, num_heads, bucket.width, -1)
    return x_PRHTK.permute(1, 3, 0, 2, 4).reshape(bucket.num_rows * bucket.width, -1)


def _rotate_in_place(x_GTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> None:
    """What ``attention.rotate`` computes, without a copy."""
    length, half = x_GTK.shape[-2], x_GTK.shape[-1] // 2
    cos, sin = cos_TK[:length, :half], sin_TK[:length, :half]
    low, high = x_GTK[..., :half], x_GTK[..., half:]
    low_sin = low * sin
    low.mul_(cos).addcmul_(high, sin, value=-1)
    high.mul_(cos).add_(low_sin)
