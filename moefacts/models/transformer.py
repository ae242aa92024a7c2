"""A pre-norm decoder: RMSNorm, attention with rotary positions or a recurrence in its place, no biases in projections.

Shape legend: B batch, T position, D model width, V vocabulary, N chosen positions.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.attention import CausalSelfAttention, rotary_angles
from moefacts.models.config import ModelConfig, ParameterCounts, parameter_counts
from moefacts.models.feed_forward import FeedForward
from moefacts.models.moe import MixtureOfExperts, Routing
from moefacts.models.recurrence import RecurrentBlock, lambda_for


@dataclass(frozen=True)
class ModelOutput:
    """What a forward pass returns.

    Attributes:
        logits: next-token logits, shape (B, T, V), or (N, V) at chosen positions.
        routings: what the router of each mixture-of-experts layer decided, by layer number.
    """

    logits: Tensor
    routings: dict[int, Routing]


class DecoderLayer(nn.Module):
    """Attention or recurrence, then feed-forward or experts, each on a normalised input and added to its input."""

    def __init__(self, config: ModelConfig, is_moe: bool):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
        shape = (config.d_model, config.num_heads, config.d_head)
        self.attention = CausalSelfAttention(*shape) if config.mixer == "attention" else None
        self.recurrence = RecurrentBlock(*shape) if config.mixer == "rg_lru" else None
        self.feed_forward_norm = nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
        self.feed_forward: FeedForward | MixtureOfExperts
        if is_moe:
            assert config.moe is not None
            self.feed_forward = MixtureOfExperts(config.d_model, config.activation, config.moe)
        else:
            self.feed_forward = FeedForward(config.d_model, config.d_hidden, config.activation)

    def attend(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        """The first half of the layer; positions see earlier ones."""
        normed_BTD = self.attention_norm(x_BTD)
        if self.recurrence is not None:
            return x_BTD + self.recurrence(normed_BTD)
        assert self.attention is not None
        return x_BTD + self.attention(normed_BTD, cos_TK, sin_TK)

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
        self.final_norm = nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
        self.unembedding = None if config.tied_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)

    def forward(self, token_BT: Tensor, at_N: Tensor | None = None, real_N: Tensor | None = None) -> ModelOutput:
        """Next-token logits.

        Args:
            token_BT: token ids.
            at_N: positions, as indices into the flattened B * T, whose logits are wanted; all when None.
            real_N: positions that are not padding, all when None. Only they pass through feed-forward blocks, so
                that padding costs little and no router sees it; the logits of other positions mean nothing.
        """
        x_BTD = self.embedding(token_BT)
        cos_TK, sin_TK = rotary_angles(
            token_BT.shape[1], self.config.d_head, self.config.rope_theta, device=token_BT.device
        )
        routings: dict[int, Routing] = {}
        hidden = x_BTD
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, DecoderLayer)
            x_BTD = layer.attend(hidden, cos_TK, sin_TK)
            is_last = number == len(self.layers) - 1
            chosen_N = at_N if is_last and at_N is not None else real_N
            if chosen_N is None:
                change, routing = layer.transform(x_BTD)
                hidden = x_BTD + change
            else:
                flat_ND = x_BTD.flatten(0, 1)
                x_ND = flat_ND.index_select(0, chosen_N)
                change, routing = layer.transform(x_ND)
                hidden = (
                    x_ND + change
                    if chosen_N is at_N and is_last
                    else flat_ND.index_add(0, chosen_N, change).view_as(x_BTD)
                )
            if routing is not None:
                routings[number] = routing
        weight_VD = self.embedding.weight if self.unembedding is None else self.unembedding.weight
        return ModelOutput(F.linear(self.final_norm(hidden), weight_VD), routings)

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
