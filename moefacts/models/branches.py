"""Many continuations of the same text, read in one pass.

The continuations of one place of a text are a tree of tokens. A token of it sees the text up to that place and the
tokens above it, so the text is read once, and so is a beginning that continuations share. The results are those of the
model on every continuation by itself, except in mixtures that are not causal (a limited capacity, experts that choose
tokens), whose experts all continuations share.

Shape legend: B texts, T positions, P places, M nodes, C nodes of a chunk, L nodes on the way from a place to a node,
A = C L, D model width, H heads, K head width, R recurrence width.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor

from moefacts.models.attention import CausalSelfAttention
from moefacts.models.layer import DecoderLayer
from moefacts.models.packing import Packing
from moefacts.models.recurrence import RecurrentBlock, causal_convolution
from moefacts.models.rotary import Angles, rotary_angles, rotate
from moefacts.models.transformer import HIDDEN_STATES, Transformer

_MOST_NUMBERS = 1 << 24  # in the largest array of a chunk


class Trees(NamedTuple):
    """Trees of tokens, one for every place of a text, in depth-first order.

    Attributes:
        token_M: the token of every node.
        place_M: the place that the node's tree continues.
        path_ML: the node, its parent, and so on up to the place; -1 after the last of them.
    """

    token_M: Tensor
    place_M: Tensor
    path_ML: Tensor


class _Chunk(NamedTuple):
    """Some nodes with all those above them; paths count within the chunk, and ``last_BC`` is the text's last token."""

    path_CL: Tensor
    depth_C: Tensor
    last_BC: Tensor
    angles: Angles


Mixer = Callable[[Tensor, _Chunk], Tensor]  # mixes normalised nodes (B, C, D) with what is before them


@torch.no_grad()
def read_branches(
    model: Transformer, token_BT: Tensor, packing: Packing, last_BP: Tensor, trees: Trees, width: int
) -> tuple[Tensor, Iterator[tuple[Tensor, Tensor]]]:
    """The model's last hidden states, before the unembedding, at the places of texts and at the nodes of their trees.

    Args:
        model: in evaluation mode.
        token_BT, packing: the texts.
        last_BP: the position of the last token before every place.
        trees: the continuations, the same for all texts.
        width: the numbers that the caller needs for each node, such as the vocabulary's size.

    Returns:
        The hidden states at the places, (B, P, D), and an iterator over chunks: the nodes (C,) and their states
        (B, C, D). Every node comes once.
    """
    num_texts, length = token_BT.shape
    longest = trees.path_ML.shape[1]
    config = model.config
    angles = rotary_angles(length + longest, config.d_head, config.rope_theta, token_BT.device)
    at_BP = last_BP + torch.arange(num_texts, device=token_BT.device)[:, None] * length
    output = model(token_BT, packing, keep=(HIDDEN_STATES,))
    mixers: list[Mixer] = []
    for layer, x_ND in zip(model.layers, output.hidden_states, strict=False):  # the last is that after all layers
        layer = cast(DecoderLayer, layer)
        mixers.append(_MIXERS[type(layer.mixer)](layer.mixer, layer.mixer_norm(x_ND), packing, angles))
    per_node = num_texts * max(width, max(longest, 1) * config.d_model, length * config.num_heads)
    size = max(1, _MOST_NUMBERS // per_node)
    at_places_BPD = output.hidden.index_select(0, packing.find(at_BP.flatten())).unflatten(0, last_BP.shape)
    return at_places_BPD, _chunks(model, mixers, last_BP, trees, angles, size)


@torch.no_grad()
def _chunks(
    model: Transformer, mixers: list[Mixer], last_BP: Tensor, trees: Trees, angles: Angles, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    every_M = torch.arange(len(trees.token_M), device=last_BP.device)
    for wanted_C in every_M.split(size) if len(every_M) else ():
        above = trees.path_ML[wanted_C[0]].flip(0)  # of depth-first orders, the other nodes' ancestors are among these
        node_C = torch.cat([above[(above >= 0) & (above < wanted_C[0])], wanted_C])
        path_CL = trees.path_ML[node_C]
        depth_C = (path_CL >= 0).sum(dim=1)
        last_BC = last_BP[:, trees.place_M[node_C]]
        own = Angles(*(table[last_BC + depth_C][:, None] for table in angles))
        chunk = _Chunk(torch.searchsorted(node_C, path_CL.clamp(min=0)), depth_C, last_BC, own)
        x_BCD = model.embedding(trees.token_M[node_C]).expand(len(last_BP), -1, -1)
        for layer, mix in zip(model.layers, mixers, strict=True):
            layer = cast(DecoderLayer, layer)
            x_BCD = x_BCD + mix(layer.mixer_norm(x_BCD), chunk)
            x_BCD = x_BCD + layer.feed_forward(layer.feed_forward_norm(x_BCD))[0]
        yield wanted_C, model.final_norm(x_BCD[:, -len(wanted_C) :])


def _attention(mixer: CausalSelfAttention, x_ND: Tensor, packing: Packing, angles: Angles) -> Mixer:
    """Attention of nodes to the text before their place, and to the nodes on the way."""

    def projected(x_BTD: Tensor, turn: Angles) -> tuple[Tensor, Tensor, Tensor]:
        parts = mixer.qkv(x_BTD).unflatten(-1, (3, mixer.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q_BHTK, k_BHTK, v_BHTK = parts.unbind(0)
        return rotate(q_BHTK, turn), rotate(k_BHTK, turn), v_BHTK

    _, text_k_BHTK, text_v_BHTK = projected(packing.pad(x_ND), Angles(*(table[: packing.width] for table in angles)))
    position_T = torch.arange(packing.width, device=x_ND.device)

    def mix(x_BCD: Tensor, chunk: _Chunk) -> Tensor:
        q_BHCK, k_BHCK, v_BHCK = projected(x_BCD, chunk.angles)
        q_BHCK = q_BHCK * q_BHCK.shape[-1] ** -0.5
        on_way_CL = torch.arange(chunk.path_CL.shape[1], device=x_BCD.device) < chunk.depth_C[:, None]
        path_A = chunk.path_CL.flatten()
        k_BHCLK, v_BHCLK = (
            one_BHCK.index_select(2, path_A).unflatten(2, chunk.path_CL.shape) for one_BHCK in (k_BHCK, v_BHCK)
        )
        is_later_BCT = position_T > chunk.last_BC[:, :, None]
        to_text = (q_BHCK @ text_k_BHTK.transpose(2, 3)).masked_fill(is_later_BCT[:, None], -torch.inf)
        to_way = (k_BHCLK * q_BHCK[..., None, :]).sum(dim=-1).masked_fill(~on_way_CL, -torch.inf)
        weight = torch.cat([to_text, to_way], dim=-1).softmax(dim=-1)
        text_weight, way_weight = weight.split([packing.width, chunk.path_CL.shape[1]], dim=-1)
        mixed_BHCK = text_weight @ text_v_BHTK + (way_weight[..., None] * v_BHCLK).sum(dim=-2)
        return mixer.out(mixed_BHCK.transpose(1, 2).flatten(2))

    return mix


def _recurrence(mixer: RecurrentBlock, x_ND: Tensor, packing: Packing, angles: Angles) -> Mixer:
    """The recurrence of nodes, which goes on from the state of the text before their place."""
    num_taps = mixer.taps_RW.shape[1]
    value_BTR = mixer.value(packing.pad(x_ND))
    state_BTR = mixer.rg_lru(causal_convolution(value_BTR, mixer.taps_RW)).float()
    value_BTR = torch.nn.functional.pad(value_BTR, (0, 0, num_taps, 0))

    def mix(x_BCD: Tensor, chunk: _Chunk) -> Tensor:
        value_BCR = mixer.value(x_BCD)
        row_B1 = torch.arange(len(x_BCD), device=x_BCD.device)[:, None]
        convolved_BCR = torch.zeros_like(value_BCR)
        for back in range(num_taps):
            on_way_C1 = (chunk.depth_C > back)[:, None]
            place_C = chunk.path_CL[:, min(back, chunk.path_CL.shape[1] - 1)]
            in_text_BC = (chunk.last_BC - (back - chunk.depth_C).clamp(min=0) + num_taps).clamp(min=0)
            before_BCR = torch.where(on_way_C1, value_BCR[:, place_C], value_BTR[row_B1, in_text_BC])
            convolved_BCR = convolved_BCR + before_BCR * mixer.taps_RW[:, num_taps - 1 - back]
        decay_BCR, input_BCR = mixer.rg_lru.gated(convolved_BCR)
        state_BCR = torch.zeros_like(input_BCR)
        for depth in range(1, int(chunk.depth_C.max()) + 1):
            here_C = (chunk.depth_C == depth).nonzero().squeeze(1)
            if depth == 1:
                before_BCR = state_BTR[row_B1, chunk.last_BC[:, here_C]]
            else:
                before_BCR = state_BCR[:, chunk.path_CL[here_C, 1]]
            state_BCR[:, here_C] = decay_BCR[:, here_C] * before_BCR + input_BCR[:, here_C]
        return mixer.out(torch.nn.functional.gelu(mixer.gate(x_BCD)) * state_BCR.to(x_BCD.dtype))

    return mix


_MIXERS: dict[type, Callable[..., Mixer]] = {CausalSelfAttention: _attention, RecurrentBlock: _recurrence}
