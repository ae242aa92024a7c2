"""A decoder layer and its two slots: a mixer, which lets positions see earlier ones, and a feed-forward block.

A new mixer is a module, a line in ``MIXERS`` below and one in ``architecture.MIXERS``. It is called as
``mixer(x, angles, packing, pattern_BHTT, ask_BQ)`` and returns its output and the attention that was asked for. A new
feed-forward block is a module and a branch in ``feed_forward_block``. It is called as ``block(x, row_R)`` and returns
its output for these rows (all when None) and its routing. What a module does not have is None.

Shape legend: B batch, T position, N real tokens, D model width, H heads, Q positions asked about.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from moefacts.models.architecture import ModelConfig
from moefacts.models.attention import CausalSelfAttention
from moefacts.models.feed_forward import FeedForward
from moefacts.models.moe import MixtureOfExperts, Routing
from moefacts.models.norm import RMSNorm
from moefacts.models.packing import Packing, picked
from moefacts.models.recurrence import RecurrentBlock
from moefacts.models.rotary import Angles

MIXERS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "attention": lambda config: CausalSelfAttention(config.d_model, config.num_heads, config.d_head),
    "rg_lru": lambda config: RecurrentBlock(config.d_model, config.num_heads, config.d_head),
}


def feed_forward_block(config: ModelConfig, number: int) -> FeedForward | MixtureOfExperts:
    """The feed-forward block of layer ``number``."""
    if config.moe is not None and number in config.moe.layer_numbers(config.num_layers):
        return MixtureOfExperts(config.d_model, config.activation, config.moe)
    return FeedForward(config.d_model, config.d_hidden, config.activation)


class LayerOutput(NamedTuple):
    """The hidden state, of the rows that are wanted; the attention that was asked for; what a router decided."""

    x: Tensor
    attention_BHQT: Tensor | None
    routing: Routing | None


class DecoderLayer(nn.Module):
    """A mixer, then a feed-forward block, each on a normalised input and added to it."""

    def __init__(self, config: ModelConfig, number: int):
        super().__init__()
        self.mixer_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.mixer = MIXERS[config.mixer](config)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.feed_forward = feed_forward_block(config, number)

    def forward(
        self,
        x: Tensor,
        angles: Angles,
        packing: Packing | None = None,
        pattern_BHTT: Tensor | None = None,
        ask_BQ: Tensor | None = None,
        row_R: Tensor | None = None,
    ) -> LayerOutput:
        """Apply the layer.

        Args:
            x: shape (B, T, D), or (N, D) with ``packing``.
            angles: the rotation of every position.
            packing: which tokens make a sequence; without it every row of ``x`` is one.
            pattern_BHTT: attention to use in place of what the mixer would compute.
            ask_BQ: positions of every sequence whose attention is to be returned, in fp32.
            row_R: the rows of ``x`` that are wanted, counted over all its axes but the last; all when None. The others
                cost nothing in the feed-forward block, but its router sees them.
        """
        mixed, attention_BHQT = self.mixer(self.mixer_norm(x), angles, packing, pattern_BHTT, ask_BQ)
        x = x + mixed
        change, routing = self.feed_forward(self.feed_forward_norm(x), row_R)
        return LayerOutput(picked(x, row_R) + change, attention_BHQT, routing)
