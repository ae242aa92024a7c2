"""Causal self-attention with rotary positions.

Shape legend: B batch, T position, N real tokens, D model width, H heads, Q positions asked about.
"""

from torch import Tensor, nn

from moefacts.models.kernels.causal_attention import attention_weights, causal_attention, mixed_values
from moefacts.models.packing import Packing
from moefacts.models.rotary import Angles


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
        angles: Angles,
        packing: Packing | None = None,
        pattern_BHTT: Tensor | None = None,
        ask_BQ: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Mix over earlier positions. The arguments are those of every mixer (see ``layer.DecoderLayer``)."""
        project = (x, self.qkv.weight)
        if pattern_BHTT is None:
            weight_BHQT = None
            if ask_BQ is not None:
                weight_BHQT = attention_weights(*project, angles, self.num_heads, packing, ask_BQ).float()
            mixed = causal_attention(*project, angles, self.num_heads, packing)
        else:
            weight_BHQT = None if ask_BQ is None else pattern_BHTT.take_along_dim(ask_BQ[:, None, :, None], dim=2)
            mixed = mixed_values(pattern_BHTT, *project, packing)
        return self.out(mixed), weight_BHQT
