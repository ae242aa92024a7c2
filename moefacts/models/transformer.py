"""A pre-norm decoder: RMSNorm, attention with rotary positions or a recurrence in its place, no biases in projections.

Shape legend: B batch, T position, D model width, V vocabulary, N real tokens or chosen positions, M chosen rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.attention import CausalSelfAttention
from moefacts.models.config import ModelConfig, ParameterCounts, parameter_counts
from moefacts.models.feed_forward import FeedForward
from moefacts.models.moe import MixtureOfExperts, Routing
from moefacts.models.norm import RMSNorm
from moefacts.models.packing import Packing
from moefacts.models.plain_cpu import is_plain_cpu
from moefacts.models.recurrence import RecurrentBlock, lambda_for
from moefacts.models.rotary import rotary_angles


@dataclass(frozen=True)
class ModelOutput:
    """What a forward pass returns.

    Attributes:
        logits: next-token logits, shape (B, T, V), or (N, V) of packed or chosen positions.
        routings: what the router of each mixture-of-experts layer decided, by layer number.
    """

    logits: Tensor
    routings: dict[int, Routing]


class Words(NamedTuple):
    """Every word's embedding, and which word each real token is."""

    embedding_VD: Tensor
    token_N: Tensor


class DecoderLayer(nn.Module):
    """Attention or recurrence, then feed-forward or experts, each on a normalised input and added to its input."""

    def __init__(self, config: ModelConfig, is_moe: bool):
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_epsilon)
        shape = (config.d_model, config.num_heads, config.d_head)
        self.attention = CausalSelfAttention(*shape) if config.mixer == "attention" else None
        self.recurrence = RecurrentBlock(*shape) if config.mixer == "rg_lru" else None
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.feed_forward: FeedForward | MixtureOfExperts
        if is_moe:
            assert config.moe is not None
            self.feed_forward = MixtureOfExperts(config.d_model, config.activation, config.moe)
        else:
            self.feed_forward = FeedForward(config.d_model, config.d_hidden, config.activation)

    def attend(
        self,
        x: Tensor,
        cos_TK: Tensor,
        sin_TK: Tensor,
        packing: Packing | None,
        at_M: Tensor | None = None,
        words: Words | None = None,
        pattern_BHTT: Tensor | None = None,
    ) -> Tensor:
        """The first half of the layer; positions see earlier ones. Of all, or of M rows of the flattened result.

        ``words`` is what ``x`` was looked up in, where attention is faster with it; ``pattern_BHTT`` is attention to
        take in place of the layer's own.
        """
        normed = self.attention_norm(x if words is None else words.embedding_VD)
        before = x if at_M is None else x.flatten(0, -2).index_select(0, at_M)
        if self.attention is not None:
            token_N = None if words is None else words.token_N
            return before + self.attention(normed, cos_TK, sin_TK, packing, at_M, token_N, pattern_BHTT)
        assert self.recurrence is not None
        change = self.recurrence(normed) if packing is None else packing.unpad(self.recurrence(packing.pad(normed)))
        return before + (change if at_M is None else change.flatten(0, -2).index_select(0, at_M))

    def transform(self, x: Tensor) -> tuple[Tensor, Routing | None]:
        """What the second half adds to its input, each position by itself; the last axis is the model width."""
        normed = self.feed_forward_norm(x)
        if isinstance(self.feed_forward, FeedForward):
            return self.feed_forward(normed), None
        y_ND, routing = self.feed_forward(normed.flatten(0, -2))
        return y_ND.view_as(x), routing


class Transformer(nn.Module):
    """The language model. With tied embeddings the unembedding is the embedding, transposed."""

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, config.d_model)
        moe_layers = config.moe.layer_numbers(config.num_layers) if config.moe else []
        self.layers = nn.ModuleList(DecoderLayer(config, number in moe_layers) for number in range(config.num_layers))
        self.final_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.unembedding = None if config.tied_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)

    @property
    def unembedding_VD(self) -> Tensor:
        """What turns the last hidden state into logits."""
        return self.embedding.weight if self.unembedding is None else self.unembedding.weight

    def forward(
        self,
        token_BT: Tensor,
        at_N: Tensor | None = None,
        packing: Packing | None = None,
        patterns: Sequence[Tensor] | None = None,
    ) -> ModelOutput:
        """Next-token logits; arguments are those of ``hidden``."""
        hidden, routings = self.hidden(token_BT, at_N, packing, patterns)
        return ModelOutput(F.linear(hidden, self.unembedding_VD), routings)

    def losses(self, token_BT: Tensor, target_BT: Tensor) -> Tensor:
        """Unreduced cross entropy at every position, padding included; one graph to compile, the head's loss in it."""
        return token_losses(self(token_BT).logits, target_BT)

    def hidden(
        self,
        token_BT: Tensor,
        at_N: Tensor | None = None,
        packing: Packing | None = None,
        patterns: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, dict[int, Routing]]:
        """The normalised last hidden state and the routing of every mixture-of-experts layer.

        Args:
            token_BT: token ids.
            at_N: positions, as indices into the flattened B * T, that are wanted; all when None.
            packing: which positions are real, all when None. With it padding costs nothing and meets no router, and
                the result has a row for each real token, in order.
            patterns: attention to use in place of the model's own, for every layer, shape (B, H, T, T).

        Returns:
            Shape (B, T, D), or (N, D) with ``packing`` or ``at_N``; and routings by layer number.
        """
        cos_TK, sin_TK = rotary_angles(
            token_BT.shape[1], self.config.d_head, self.config.rope_theta, device=token_BT.device
        )
        at_M = at_N if at_N is None or packing is None else packing.find(at_N)
        routings: dict[int, Routing] = {}
        token_N = token_BT if packing is None else token_BT.flatten().index_select(0, packing.real_N)
        x = self.embedding(token_N)
        words = self._words(token_N, packing) if patterns is None else None
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, DecoderLayer)
            chosen_M = at_M if number == len(self.layers) - 1 else None
            pattern_BHTT = None if patterns is None else patterns[number]
            x = layer.attend(x, cos_TK, sin_TK, packing, chosen_M, words if number == 0 else None, pattern_BHTT)
            change, routing = layer.transform(x)
            x = x + change
            if routing is not None:
                routings[number] = routing
        return self.final_norm(x), routings

    def _words(self, token_N: Tensor, packing: Packing | None) -> Words | None:
        """The tokens as words of the vocabulary, where the first layer's attention is faster with them.

        Until positions meet, all is a function of the token alone: its embedding, the norm, query, key and value. On a
        CPU and with at least two tokens a word, making them once a word saves more than looking them up costs.
        """
        enough = packing is not None and len(token_N) >= 2 * self.vocab_size
        if not enough or self.config.mixer != "attention" or not is_plain_cpu(self.embedding.weight):
            return None
        return Words(self.embedding.weight, token_N)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """The only place where weights get their first value.

        Matrices are normal with variance 1 / fan-in; those that write to the residual stream are divided by
        sqrt(2 * layers) as in GPT-2, so that the stream's variance does not grow with depth; norm scales are 1; a
        router's noise starts without preference, from zero (Shazeer et al. 2017, appendix A); a recurrence's gates
        start from biases of zero, and its Λ so that a^c is uniform in [0.9, 0.999] (De et al. 2024, section 2.4).
        """
        residual_scale = 1 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
                continue
            if name.endswith(("router.noise.weight", "gate.bias")):
                parameter.zero_()
                continue
            if name.endswith("lambda_R"):
                power_R = torch.empty(parameter.shape).uniform_(0.9, 0.999, generator=generator)
                parameter.copy_(lambda_for(power_R))
                continue
            writes_residual = name.endswith((".out.weight", "down.weight", "experts.down"))
            std = (residual_scale if writes_residual else 1.0) / math.sqrt(parameter.shape[-1])
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


def build_model(config: ModelConfig, vocab_size: int, seed: int) -> Transformer:
    """A freshly initialised model on the CPU; a pure function of its arguments."""
    model = Transformer(config, vocab_size)
    model.init_weights(torch.Generator().manual_seed(seed))
    assert count_parameters(model) == parameter_counts(config, vocab_size)
    return model


def count_parameters(model: Transformer) -> ParameterCounts:
    """What the model really holds; of experts, those that a token does not use are not active."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embedding = model.embedding.weight.numel() * (1 if model.unembedding is None else 2)
    idle = 0
    for module in model.modules():
        if isinstance(module, MixtureOfExperts) and module.config.kind != "soft":
            size = sum(parameter.numel() for parameter in module.experts.parameters()) // module.config.num_experts
            idle += (module.config.num_experts - module.config.experts_per_token) * size
    return ParameterCounts(total, embedding, active=total - idle)


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Unreduced cross entropy in nats, of the shape of ``targets``; computed in fp32."""
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="none").view_as(targets)
