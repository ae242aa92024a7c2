"""A pre-norm decoder-only transformer: RMSNorm, rotary positions, no biases.

Shape legend: B batch, T position, D model width, V vocabulary, N chosen positions.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.attention import CausalSelfAttention, rotary_angles
from moefacts.models.config import ModelConfig, ParameterCounts, parameter_counts
from moefacts.models.feed_forward import FeedForward


class DecoderLayer(nn.Module):
    """Attention, then feed-forward, each on a normalised input and added to its input."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
        self.attention = CausalSelfAttention(config.d_model, config.num_heads, config.d_head)
        self.feed_forward_norm = nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
        self.feed_forward = FeedForward(config.d_model, config.d_hidden, config.activation)

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, at_N: Tensor | None = None) -> Tensor:
        """Same shape out as in, or (N, D) when only the flattened positions ``at_N`` are wanted."""
        x = x_BTD + self.attention(self.attention_norm(x_BTD), cos_TK, sin_TK)
        if at_N is not None:
            x = x.flatten(0, 1).index_select(0, at_N)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Transformer(nn.Module):
    """The language model. With tied embeddings the unembedding is the embedding, transposed."""

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, config.d_model)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        self.final_norm = nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
        self.unembedding = None if config.tied_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)

    def forward(self, token_BT: Tensor, at_N: Tensor | None = None) -> Tensor:
        """Next-token logits.

        Args:
            token_BT: token ids.
            at_N: positions, as indices into the flattened B * T, whose logits are wanted; all when None.

        Returns:
            Logits of shape (B, T, V), or (N, V) when ``at_N`` is given.
        """
        x_BTD = self.embedding(token_BT)
        cos_TK, sin_TK = rotary_angles(
            token_BT.shape[1], self.config.d_head, self.config.rope_theta, device=token_BT.device
        )
        for layer in self.layers[:-1]:
            x_BTD = layer(x_BTD, cos_TK, sin_TK)
        hidden = self.final_norm(self.layers[-1](x_BTD, cos_TK, sin_TK, at_N))
        weight_VD = self.embedding.weight if self.unembedding is None else self.unembedding.weight
        return F.linear(hidden, weight_VD)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """The only place where weights get their first value.

        Matrices are normal with variance 1 / fan-in; those that write to the residual stream are divided by
        sqrt(2 * layers) as in GPT-2, so that the stream's variance does not grow with depth; norm scales are 1.
        """
        residual_scale = 1 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
                continue
            writes_residual = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
            std = (residual_scale if writes_residual else 1.0) / math.sqrt(parameter.shape[1])
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


def build_model(config: ModelConfig, vocab_size: int, seed: int) -> Transformer:
    """A freshly initialised model on the CPU; a pure function of its arguments."""
    model = Transformer(config, vocab_size)
    model.init_weights(torch.Generator().manual_seed(seed))
    assert count_parameters(model) == parameter_counts(config, vocab_size)
    return model


def count_parameters(model: Transformer) -> ParameterCounts:
    """What the model really holds."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embedding = model.embedding.weight.numel() * (1 if model.unembedding is None else 2)
    return ParameterCounts(total, embedding, active=total)


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Unreduced cross entropy in nats, of the shape of ``targets``; computed in fp32."""
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="none").view_as(targets)
