"""Causal attention of packed sequences on a CPU: bucket by bucket, so that scores stay in cache and little is padding.

PyTorch's own CPU kernel works on padded sequences and is slow for narrow heads; this one also rotates queries and keys
in the copy that it makes anyway, as complex numbers. Forward and backward are those of softmax attention (Vaswani et
al. 2017, eq. 1).

Shape legend: N real tokens, H heads, K head width, P = K / 2 pairs, R rows of a bucket, G = R * H, T its width.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moefacts.models.packing import Packing
from moefacts.models.rotary import turn_in_place


def packed_attention(qkv_NX: Tensor, turn_TP: Tensor, packing: Packing, num_heads: int) -> Tensor:
    """Attention over earlier tokens of the same sequence, shape (N, H K).

    Args:
        qkv_NX: X = 3 H K columns, in the order of ``rotary.pairs_together``.
        turn_TP: ``rotary.turns``.
        packing: which tokens make a sequence.
        num_heads: H.
    """
    return _PackedAttention.apply(qkv_NX, turn_TP, packing, num_heads)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv_NX: Tensor, turn_TP: Tensor, packing: Packing, num_heads: int) -> Tensor:
        out_NX = qkv_NX.new_empty(len(qkv_NX), qkv_NX.shape[1] // 3)
        saved = []
        for bucket in packing.buckets:
            qkv_3GTK = split_heads(
                qkv_NX[bucket.start : bucket.stop].index_select(0, bucket.token_C), bucket.num_rows, 3, num_heads
            )
            turn_in_place(qkv_3GTK[:2], turn_TP)
            q_GTK, k_GTK, v_GTK = qkv_3GTK
            mask_TT = qkv_NX.new_full((bucket.width, bucket.width), -math.inf).triu_(1)
            score_GTT = torch.baddbmm(mask_TT, q_GTK, k_GTK.transpose(1, 2), alpha=q_GTK.shape[-1] ** -0.5)
            weight_GTT = score_GTT.softmax(dim=-1)
            mixed_CX = join_heads(torch.bmm(weight_GTT, v_GTK)[None], num_heads)
            torch.index_select(mixed_CX, 0, bucket.cell_N, out=out_NX[bucket.start : bucket.stop])
            saved += [qkv_3GTK, weight_GTT]
        ctx.save_for_backward(turn_TP.conj(), *saved)
        ctx.packing, ctx.num_heads = packing, num_heads
        return out_NX

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_NX: Tensor):
        turn_back_TP, *saved = ctx.saved_tensors
        grad_qkv_NX = grad_NX.new_empty(len(grad_NX), 3 * grad_NX.shape[1])
        for number, bucket in enumerate(ctx.packing.buckets):
            qkv_3GTK, weight_GTT = saved[2 * number : 2 * number + 2]
            q_GTK, k_GTK, v_GTK = qkv_3GTK
            padded_CX = grad_NX.new_zeros(bucket.num_rows * bucket.width, grad_NX.shape[1])
            padded_CX.index_copy_(0, bucket.cell_N, grad_NX[bucket.start : bucket.stop])
            grad_GTK = split_heads(padded_CX, bucket.num_rows, 1, ctx.num_heads)[0]
            grads_3GTK = torch.empty_like(qkv_3GTK)
            torch.bmm(weight_GTT.transpose(1, 2), grad_GTK, out=grads_3GTK[2])
            grad_weight_GTT = torch.bmm(grad_GTK, v_GTK.transpose(1, 2))
            grad_score_GTT = torch._softmax_backward_data(grad_weight_GTT, weight_GTT, -1, weight_GTT.dtype)
            torch.bmm(grad_score_GTT, k_GTK, out=grads_3GTK[0])
            torch.bmm(grad_score_GTT.transpose(1, 2), q_GTK, out=grads_3GTK[1])
            grads_3GTK[:2].mul_(q_GTK.shape[-1] ** -0.5)
            turn_in_place(grads_3GTK[:2], turn_back_TP)  # a rotation's transpose turns back
            grads_CX = join_heads(grads_3GTK, ctx.num_heads)
            torch.index_select(grads_CX, 0, bucket.cell_N, out=grad_qkv_NX[bucket.start : bucket.stop])
        return grad_qkv_NX, None, None, None


def split_heads(x_CX: Tensor, num_rows: int, parts: int, num_heads: int) -> Tensor:
    """From one row a cell to shape (parts, G, T, K), contiguous."""
    x_RTPHK = x_CX.view(num_rows, len(x_CX) // num_rows, parts, num_heads, -1)
    return x_RTPHK.permute(2, 0, 3, 1, 4).reshape(parts, num_rows * num_heads, x_RTPHK.shape[1], -1)


def join_heads(x_PGTK: Tensor, num_heads: int) -> Tensor:
    """Undo ``split_heads``."""
    parts, groups, length, _ = x_PGTK.shape
    x_PRHTK = x_PGTK.view(parts, groups // num_heads, num_heads, length, -1)
    return x_PRHTK.permute(1, 3, 0, 2, 4).reshape(groups // num_heads * length, -1)
