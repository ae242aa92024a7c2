"""A pre-norm decoder: embedding, layers, a last RMSNorm, and unembedding. Projections have no biases.

Shape legend: B batch, T position, N real tokens or asked positions, D model width, V vocabulary, H heads, Q asked
positions of a sequence.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.architecture import ModelConfig, ParameterCounts, parameter_counts
from moefacts.models.layer import DecoderLayer
from moefacts.models.moe import MixtureOfExperts, Routing
from moefacts.models.norm import RMSNorm
from moefacts.models.packing import Packing, picked
from moefacts.models.recurrence import lambda_for
from moefacts.models.rotary import rotary_angles

_ZERO_OF_ADDED = ("added.score.weight", "added.experts.down")
_FIRST_SCORE_OF_ADDED = -4.0  # a gate of 0.018
ATTENTION, HIDDEN_STATES = "attention", "hidden_states"  # what a forward pass keeps when asked to


@dataclass(frozen=True)
class ModelOutput:
    """What a forward pass returns, for all positions, for all real tokens if packed, or for the asked positions.

    Attributes:
        hidden: the normalised last hidden state, shape (B, T, D), or (N, D) of real tokens or asked positions.
        unembed: maps hidden states to next-token logits.
        routings: layer number -> what the layer's router decided about all tokens; mixtures of experts only.
        attention: layer number -> attention from the asked positions, shape (B, H, Q, T), in fp32; empty unless asked
            for, or if the mixer has none.
        hidden_states: those before the first layer and after every layer, in the shape of ``hidden``; empty unless
            asked for.
    """

    hidden: Tensor
    unembed: Callable[[Tensor], Tensor]
    routings: dict[int, Routing]
    attention: dict[int, Tensor]
    hidden_states: list[Tensor]

    @property
    def logits(self) -> Tensor:
        """Next-token logits, shape (B, T, V) or (N, V), computed when they are read."""
        return self.unembed(self.hidden)


class Transformer(nn.Module):
    """The language model. With tied embeddings the unembedding is the embedding, transposed."""

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, config.d_model)
        self.layers = nn.ModuleList(DecoderLayer(config, number) for number in range(config.num_layers))
        self.final_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.unembedding = None if config.tied_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)

    @property
    def unembedding_VD(self) -> Tensor:
        """The matrix that turns the last hidden state into logits."""
        return self.embedding.weight if self.unembedding is None else self.unembedding.weight

    def unembed(self, hidden: Tensor) -> Tensor:
        """Next-token logits of normalised hidden states; the last axis goes from D to V."""
        return F.linear(hidden, self.unembedding_VD)

    def forward(
        self,
        token_BT: Tensor,
        packing: Packing | None = None,
        at: Tensor | None = None,
        *,
        patterns: Sequence[Tensor] | None = None,
        keep: Collection[str] = (),
    ) -> ModelOutput:
        """Run the model. All mixers and routers see all tokens, whatever is asked for.

        Args:
            token_BT: token ids.
            packing: which positions are real; all when None. With it, padding costs nothing and reaches no router, and
                results have one row per real token, in order.
            at: the wanted positions, as indices into the flattened B * T, in any shape; all when None. With
                ``packing`` they must be real. When attention is kept, the shape must be (B, Q), with positions of
                each sequence in its own row.
            patterns: attention to use instead of the model's own, for every layer, shape (B, H, T, T).
            keep: what to return besides the rest: ``ATTENTION``, ``HIDDEN_STATES`` or both.
        """
        assert set(keep) <= {ATTENTION, HIDDEN_STATES}
        length = token_BT.shape[1]
        angles = rotary_angles(length, self.config.d_head, self.config.rope_theta, device=token_BT.device)
        ask_BQ = _asked(token_BT, at) if ATTENTION in keep else None
        at_R = None if at is None else at.flatten()
        row_R = at_R if at_R is None or packing is None else packing.find(at_R)
        routings: dict[int, Routing] = {}
        attention: dict[int, Tensor] = {}
        x = self.embedding(token_BT if packing is None else token_BT.flatten().index_select(0, packing.real_N))
        hidden_states = [picked(x, row_R)] if HIDDEN_STATES in keep else []
        for number, layer in enumerate(self.layers):
            pattern_BHTT = None if patterns is None else patterns[number]
            is_last = number == len(self.layers) - 1
            x, attention_BHQT, routing = layer(x, angles, packing, pattern_BHTT, ask_BQ, row_R if is_last else None)
            if routing is not None:
                routings[number] = routing
            if attention_BHQT is not None:
                attention[number] = attention_BHQT
            if HIDDEN_STATES in keep:
                hidden_states.append(x if is_last else picked(x, row_R))
        x = self.final_norm(x)
        if at is not None:
            x, *hidden_states = (state.unflatten(0, at.shape) for state in (x, *hidden_states))
        return ModelOutput(x, self.unembed, routings, attention, hidden_states)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Set all weights to their first value. No other code does so.

        Matrices are normal with variance 1 / fan-in. Those that write to the residual stream are divided by
        sqrt(2 * layers) as in GPT-2, so that the stream's variance does not grow with depth. Norm scales are 1. A
        router's noise weights are zero, so that it starts without preference (Shazeer et al. 2017, appendix A). The
        biases of a recurrence's gates are zero, and its Λ is such that a^c is uniform in [0.9, 0.999] (De et al. 2024,
        section 2.4). Experts that join a trained mixture write nothing at first, and their gates are nearly closed.
        """
        residual_scale = 1 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
                continue
            if name.endswith(("router.noise.weight", "gate.bias", *_ZERO_OF_ADDED)):
                parameter.zero_()
                continue
            if name.endswith("added.score.bias"):
                parameter.fill_(_FIRST_SCORE_OF_ADDED)
                continue
            if name.endswith("lambda_R"):
                power_R = torch.empty(parameter.shape).uniform_(0.9, 0.999, generator=generator)
                parameter.copy_(lambda_for(power_R))
                continue
            writes_residual = name.endswith((".out.weight", "down.weight", "experts.down"))
            std = (residual_scale if writes_residual else 1.0) / math.sqrt(parameter.shape[-1])
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


def build_model(config: ModelConfig, vocab_size: int, seed: int) -> Transformer:
    """A freshly initialised model on the CPU. It depends only on the arguments."""
    model = Transformer(config, vocab_size)
    model.init_weights(torch.Generator().manual_seed(seed))
    assert count_parameters(model) == parameter_counts(config, vocab_size)
    return model


def count_parameters(model: Transformer) -> ParameterCounts:
    """The parameter counts of ``model``. Experts that a token does not use are not active."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embedding = model.embedding.weight.numel() * (1 if model.unembedding is None else 2)
    idle = 0
    for module in model.modules():
        if isinstance(module, MixtureOfExperts) and module.config.kind != "soft":
            size = sum(parameter.numel() for parameter in module.experts.parameters()) // module.config.num_experts
            idle += (module.config.num_experts - module.config.experts_per_token) * size
    return ParameterCounts(total, embedding, active=total - idle)


def _asked(token_BT: Tensor, at: Tensor | None) -> Tensor:
    """The positions of every sequence that are asked about, shape (B, Q)."""
    batch, length = token_BT.shape
    if at is None:
        return torch.arange(length, device=token_BT.device).expand(batch, -1)
    own_B1 = torch.arange(batch, device=at.device)[:, None]
    assert at.ndim == 2
    assert bool((at // length == own_B1).all())
    return at % length
