"""The attention of every layer of a model: to measure it, or to put it in the place of another model's.

Shape legend: B batch, T position, H heads, Q positions asked about.
"""

import torch
from torch import Tensor

from moefacts.models.transformer import DecoderLayer, Transformer


@torch.no_grad()
def attention_weights(model: Transformer, token_BT: Tensor, at_BQ: Tensor | None = None) -> list[Tensor]:
    """The attention of every layer from positions ``at_BQ`` (all when None), each of shape (B, H, Q, T), in fp32."""
    weights: list[Tensor] = []
    if at_BQ is None:
        at_BQ = torch.arange(token_BT.shape[1], device=token_BT.device).expand_as(token_BT)

    def keep(module, given) -> None:
        weights.append(module.weights(*given[:3], at_BQ).float())

    attentions = [layer.attention for layer in model.layers if isinstance(layer, DecoderLayer) and layer.attention]
    hooks = [attention.register_forward_pre_hook(keep) for attention in attentions]
    try:
        model.hidden(token_BT)
    finally:
        for hook in hooks:
            hook.remove()
    return weights
