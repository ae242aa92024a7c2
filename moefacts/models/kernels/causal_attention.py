"""Causal softmax attention with rotary positions (Vaswani et al. 2017, eq. 1; Su et al. 2021).

On a CPU, packed sequences are projected and attend bucket by bucket. So queries, keys, values and scores stay in cache,
and little of them is padding. PyTorch's own CPU kernel works on padded sequences and is slow for narrow heads. Queries
and keys are rotated as complex numbers, in a copy that is needed anyway. The two numbers of a pair must be neighbours
for this, so the rows of the projection are reordered.

Shape legend: B sequences, T positions, N real tokens, D model width, X = H K columns of all heads, Y = 3 X those of
queries, keys and values, H heads, K head width, P = K / 2 pairs, S parts of Y, Q positions asked about, R rows of a
bucket, G = R H, C cells of a bucket.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from moefacts.models.kernels.device import is_plain_cpu
from moefacts.models.packing import Packing
from moefacts.models.rotary import Angles, rotate


def causal_attention(
    x: Tensor, qkv_YD: Tensor, angles: Angles, num_heads: int, packing: Packing | None = None
) -> Tensor:
    """The values that every token gathers from itself and earlier tokens of its sequence, with the heads side by side.

    Args:
        x: shape (B, T, D), or (N, D) with ``packing``.
        qkv_YD: the projection to queries, keys and values.
        angles: the rotation of every position.
        num_heads: H.
        packing: which tokens make a sequence; without it every row is one.

    Returns:
        Shape (B, T, X), or (N, X) with ``packing``.
    """
    if packing is not None and is_plain_cpu(x):
        order_Y = _pairs_together(num_heads, len(qkv_YD) // (3 * num_heads))
        return _PackedAttention.apply(x, qkv_YD.index_select(0, order_Y), _turns(angles), packing, num_heads)
    q_BHTK, k_BHTK, v_BHTK = _queries_keys_values(x, qkv_YD, angles, num_heads, packing)
    return _joined(F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True), packing)


def causal_attention_reference(
    x: Tensor, qkv_YD: Tensor, angles: Angles, num_heads: int, packing: Packing | None = None
) -> Tensor:
    """The formula of ``causal_attention``: compute every weight, then mix the values by the weights."""
    weight_BHTT = attention_weights(x, qkv_YD, angles, num_heads, packing)
    return mixed_values(weight_BHTT, x, qkv_YD, packing)


def attention_scores(
    x: Tensor,
    qkv_YD: Tensor,
    angles: Angles,
    num_heads: int,
    packing: Packing | None = None,
    ask_BQ: Tensor | None = None,
) -> Tensor:
    """The logarithms of the weights of ``causal_attention``, up to a constant per query, −∞ for later positions.

    Args:
        x: as in ``causal_attention``, and so are those up to ``packing``.
        qkv_YD: the projection.
        angles: the rotation of every position.
        num_heads: H.
        packing: which tokens make a sequence.
        ask_BQ: the positions of the queries (all when None).

    Returns:
        Shape (B, H, Q, T). With ``packing``, rows of padding have no meaning.
    """
    q_BHTK, k_BHTK, _ = _queries_keys_values(x, qkv_YD, angles, num_heads, packing)
    place_T = torch.arange(q_BHTK.shape[2], device=x.device)
    if ask_BQ is None:
        ask_BQ = place_T.expand(len(q_BHTK), -1)
    q_BHQK = q_BHTK.take_along_dim(ask_BQ[:, None, :, None], dim=2) * q_BHTK.shape[-1] ** -0.5
    is_later_BQT = place_T > ask_BQ[:, :, None]
    return (q_BHQK @ k_BHTK.transpose(2, 3)).masked_fill(is_later_BQT[:, None], -math.inf)


def attention_weights(
    x: Tensor,
    qkv_YD: Tensor,
    angles: Angles,
    num_heads: int,
    packing: Packing | None = None,
    ask_BQ: Tensor | None = None,
) -> Tensor:
    """The weights that ``causal_attention`` mixes by: the softmax of ``attention_scores``, with the same arguments."""
    return attention_scores(x, qkv_YD, angles, num_heads, packing, ask_BQ).softmax(dim=-1)


def mixed_values(weight_BHTT: Tensor, x: Tensor, qkv_YD: Tensor, packing: Packing | None = None) -> Tensor:
    """The values of ``x`` mixed by given weights; shapes are those of ``causal_attention``."""
    value = F.linear(x, qkv_YD[-len(qkv_YD) // 3 :])
    value_BTX = value if packing is None else packing.pad(value)
    value_BHTK = value_BTX.unflatten(2, (weight_BHTT.shape[1], -1)).transpose(1, 2)
    return _joined(weight_BHTT.to(value.dtype) @ value_BHTK, packing)


def _queries_keys_values(
    x: Tensor, qkv_YD: Tensor, angles: Angles, num_heads: int, packing: Packing | None
) -> tuple[Tensor, Tensor, Tensor]:
    qkv = F.linear(x, qkv_YD)
    qkv_BTY = qkv if packing is None else packing.pad(qkv)
    q_BHTK, k_BHTK, v_BHTK = qkv_BTY.unflatten(2, (3, num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    return rotate(q_BHTK, angles), rotate(k_BHTK, angles), v_BHTK


def _joined(mixed_BHTK: Tensor, packing: Packing | None) -> Tensor:
    mixed_BTX = mixed_BHTK.transpose(1, 2).flatten(2)
    return mixed_BTX if packing is None else packing.unpad(mixed_BTX)


@cache
def _pairs_together(num_heads: int, d_head: int) -> Tensor:
    """The order of the columns of queries, keys and values in which the pairs of ``_turn_in_place`` are neighbours.

    In every head of queries and keys, k + K/2 comes next after k. Their products are the same in any order.
    """
    column_PHK = torch.arange(3 * num_heads * d_head).view(3, num_heads, d_head)
    paired_QHK = column_PHK[:2].unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
    return torch.cat([paired_QHK, column_PHK[2:]]).flatten()


def _turns(angles: Angles) -> Tensor:
    """Every position's rotation as complex numbers, shape (T, P). Their conjugates undo it."""
    half = angles.cos_TK.shape[-1] // 2
    return torch.complex(angles.cos_TK[:, :half], angles.sin_TK[:, :half])


def _turn_in_place(x_GTK: Tensor, turn_TP: Tensor) -> None:
    """Do what ``rotate`` does, with pairs as neighbours. On a CPU this complex product is many times faster."""
    torch.view_as_complex(x_GTK.unflatten(-1, (-1, 2))).mul_(turn_TP[: x_GTK.shape[-2]])


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_ND: Tensor, qkv_YD: Tensor, turn_TP: Tensor, packing: Packing, num_heads: int) -> Tensor:
        out_NX = x_ND.new_empty(len(x_ND), len(qkv_YD) // 3)
        saved = []
        for bucket in packing.buckets:
            x_CD = x_ND[bucket.start : bucket.stop].index_select(0, bucket.token_C)
            qkv_3GTK = _split_heads(torch.mm(x_CD, qkv_YD.T), bucket.num_rows, 3, num_heads)
            _turn_in_place(qkv_3GTK[:2], turn_TP)
            q_GTK, k_GTK, v_GTK = qkv_3GTK
            mask_TT = x_ND.new_full((bucket.width, bucket.width), -math.inf).triu_(1)
            score_GTT = torch.baddbmm(mask_TT, q_GTK, k_GTK.transpose(1, 2), alpha=q_GTK.shape[-1] ** -0.5)
            weight_GTT = score_GTT.softmax(dim=-1)
            mixed_CX = _join_heads(torch.bmm(weight_GTT, v_GTK)[None], num_heads)
            torch.index_select(mixed_CX, 0, bucket.cell_N, out=out_NX[bucket.start : bucket.stop])
            saved += [qkv_3GTK, weight_GTT]
        ctx.save_for_backward(x_ND, qkv_YD, turn_TP.conj(), *saved)
        ctx.packing, ctx.num_heads = packing, num_heads
        return out_NX

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_NX: Tensor):
        x_ND, qkv_YD, turn_back_TP, *saved = ctx.saved_tensors
        grad_x_ND, grad_qkv_YD = torch.empty_like(x_ND), torch.zeros_like(qkv_YD)
        for number, bucket in enumerate(ctx.packing.buckets):
            qkv_3GTK, weight_GTT = saved[2 * number : 2 * number + 2]
            q_GTK, k_GTK, v_GTK = qkv_3GTK
            padded_CX = grad_NX.new_zeros(bucket.num_rows * bucket.width, grad_NX.shape[1])
            padded_CX.index_copy_(0, bucket.cell_N, grad_NX[bucket.start : bucket.stop])
            grad_GTK = _split_heads(padded_CX, bucket.num_rows, 1, ctx.num_heads)[0]
            grads_3GTK = torch.empty_like(qkv_3GTK)
            torch.bmm(weight_GTT.transpose(1, 2), grad_GTK, out=grads_3GTK[2])
            grad_weight_GTT = torch.bmm(grad_GTK, v_GTK.transpose(1, 2))
            grad_score_GTT = torch._softmax_backward_data(grad_weight_GTT, weight_GTT, -1, weight_GTT.dtype)
            torch.bmm(grad_score_GTT, k_GTK, out=grads_3GTK[0])
            torch.bmm(grad_score_GTT.transpose(1, 2), q_GTK, out=grads_3GTK[1])
            grads_3GTK[:2].mul_(q_GTK.shape[-1] ** -0.5)
            _turn_in_place(grads_3GTK[:2], turn_back_TP)  # the transpose of a rotation undoes it
            grads_CY = _join_heads(grads_3GTK, ctx.num_heads)  # zero at padding, to which no token attends
            grad_qkv_YD.addmm_(grads_CY.T, x_ND[bucket.start : bucket.stop].index_select(0, bucket.token_C))
            grad_x_CD = torch.mm(grads_CY, qkv_YD)
            torch.index_select(grad_x_CD, 0, bucket.cell_N, out=grad_x_ND[bucket.start : bucket.stop])
        return grad_x_ND, grad_qkv_YD, None, None, None


def _split_heads(x_CY: Tensor, num_rows: int, parts: int, num_heads: int) -> Tensor:
    """Turn one row per cell into a contiguous tensor of shape (parts, G, T, K)."""
    x_RTSHK = x_CY.view(num_rows, len(x_CY) // num_rows, parts, num_heads, -1)
    return x_RTSHK.permute(2, 0, 3, 1, 4).reshape(parts, num_rows * num_heads, x_RTSHK.shape[1], -1)


def _join_heads(x_SGTK: Tensor, num_heads: int) -> Tensor:
    """Undo ``_split_heads``."""
    parts, groups, length, _ = x_SGTK.shape
    x_SRHTK = x_SGTK.view(parts, groups // num_heads, num_heads, length, -1)
    return x_SRHTK.permute(1, 3, 0, 2, 4).reshape(groups // num_heads * length, -1)
