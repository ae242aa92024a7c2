"""Attention from a few chosen tokens on a CPU, without gradients: all that evaluation needs of the last layer.

Shape legend: N real tokens, M chosen ones, X = H * K columns of all heads, H heads, K head width, P = K / 2 pairs,
B sequences, Q chosen tokens of a sequence (padded to the most), R rows of a bucket, G = R * H, T its width.
"""

import math

import numpy as np
import torch
from torch import Tensor

from moefacts.models.packed_attention import join_heads, split_heads
from moefacts.models.packing import Packing
from moefacts.models.rotary import turn_in_place


def chosen_attention(qkv_NX: Tensor, at_M: Tensor, turn_TP: Tensor, packing: Packing, num_heads: int) -> Tensor:
    """What ``packed_attention`` gives at the real tokens ``at_M``, shape (M, X); its other arguments."""
    columns = qkv_NX.shape[1] // 3
    query_MX, kv_NX = qkv_NX[:, :columns].index_select(0, at_M), qkv_NX[:, columns:]
    if not len(at_M):
        return query_MX
    position_M, cell_M, most = _places(at_M, packing)
    num_cells = packing.num_rows * most
    turn_in_place(query_MX.view(len(query_MX), num_heads, -1).transpose(0, 1), turn_TP[position_M])
    query_CX = query_MX.new_zeros(num_cells, columns).index_copy_(0, cell_M, query_MX)
    position_C = position_M.new_zeros(num_cells).index_copy_(0, cell_M, position_M)
    mixed_CX = torch.empty_like(query_CX)
    first = 0
    for bucket in packing.buckets:
        cells = slice(first * most, (first + bucket.num_rows) * most)
        first += bucket.num_rows
        kv_TX = kv_NX[bucket.start : bucket.stop].index_select(0, bucket.token_C)
        k_GTK, v_GTK = split_heads(kv_TX, bucket.num_rows, 2, num_heads)
        turn_in_place(k_GTK, turn_TP)
        q_GQK = split_heads(query_CX[cells], bucket.num_rows, 1, num_heads)[0]
        is_later_RQT = torch.arange(bucket.width) > position_C[cells].view(-1, most, 1)
        mask_RQT = torch.zeros(is_later_RQT.shape).masked_fill_(is_later_RQT, -math.inf)
        mask_GQT = mask_RQT.repeat_interleave(num_heads, dim=0)
        score_GQT = torch.baddbmm(mask_GQT, q_GQK, k_GTK.transpose(1, 2), alpha=q_GQK.shape[-1] ** -0.5)
        mixed_CX[cells] = join_heads(torch.bmm(score_GQT.softmax(dim=-1), v_GTK)[None], num_heads)
    return mixed_CX.index_select(0, cell_M)


def _places(at_M: Tensor, packing: Packing) -> tuple[Tensor, Tensor, int]:
    """Position in its sequence and cell among B * Q of every chosen token, and Q."""
    stop_B = np.cumsum(packing.length_B)
    row_M = np.searchsorted(stop_B, at_M.numpy(), side="right")
    position_M = at_M.numpy() - (stop_B - packing.length_B)[row_M]
    count_B = np.bincount(row_M, minlength=packing.num_rows)
    order_M = np.argsort(row_M, kind="stable")
    slot_M = np.empty_like(row_M)
    slot_M[order_M] = np.arange(len(row_M)) - (np.cumsum(count_B) - count_B)[row_M[order_M]]
    most = int(count_B.max())
    return torch.from_numpy(position_M), torch.from_numpy(row_M * most + slot_M), most
