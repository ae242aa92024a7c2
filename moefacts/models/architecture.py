"""The shape of a model and its number of parameters. Imports no torch, so that listing presets is quick."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ACTIVATIONS = ("gelu", "relu", "swiglu")
MOE_KINDS = ("soft", "top_k", "switch", "keep_top_k", "expert_choice")
_MOST_LAYERS = 10_000
CONVOLUTION_WIDTH = 4  # of the recurrent block, as in its paper


@dataclass
class BalanceConfig:
    """Weights of the balancing losses, and the step of loss-free balancing. 0 turns each off.

    Defaults are neutral values, which mean the same as before the setting existed.
    """

    importance: float = 0.0
    load: float = 0.0
    token_balance: float = 0.0
    z_loss: float = 0.0
    bias_rate: float = 0.0


@dataclass
class MoEConfig:
    """A mixture-of-experts layer, which replaces the feed-forward block.

    ``kind`` ``soft`` runs all experts. ``top_k`` keeps the k largest gates, and ``switch`` is ``top_k`` with k = 1 and
    the gate as weight. ``keep_top_k`` takes the softmax after the choice, with learned noise if ``noise``. With
    ``expert_choice`` experts choose tokens, which is not causal. ``layers`` is ``all``, ``every_second`` or a list of
    layer numbers. ``num_added`` experts have joined the others later, with gates of their own (``moe.AddedExperts``).
    Defaults are neutral values, which mean the same as before the setting existed.
    """

    kind: str
    num_experts: int
    experts_per_token: int
    d_expert: int
    renormalize: bool
    layers: Any
    balance: BalanceConfig
    num_shared: int = 0
    num_added: int = 0
    noise: bool = False
    capacity_factor: float | None = None

    def check(self, num_layers: int) -> None:
        """Raise ``ValueError`` when the layer makes no sense."""
        if self.kind not in MOE_KINDS:
            raise ValueError(f"model.moe.kind={self.kind} is not one of {', '.join(MOE_KINDS)}")
        least_values = {"num_experts": 1, "experts_per_token": 1, "d_expert": 1, "num_shared": 0, "num_added": 0}
        for key, least in least_values.items():
            if getattr(self, key) < least:
                raise ValueError(f"model.moe.{key}={getattr(self, key)} is too small; it must be at least {least}")
        if self.experts_per_token > self.num_experts:
            raise ValueError(
                f"model.moe.experts_per_token={self.experts_per_token} is more than the {self.num_experts} experts"
            )
        if self.kind == "switch" and (self.experts_per_token != 1 or self.renormalize):
            raise ValueError(
                "model.moe.kind=switch needs experts_per_token=1 and renormalize=false: a renormalised single gate "
                "is always 1 and gives the router no gradient"
            )
        if self.kind != "switch" and self.renormalize and self.experts_per_token == 1 and self.num_experts > 1:
            raise ValueError("model.moe.renormalize=true with one expert per token gives the router no gradient")
        if self.noise and self.kind != "keep_top_k":
            raise ValueError("model.moe.noise=true belongs to kind=keep_top_k")
        if self.balance.load and not self.noise:
            raise ValueError("model.moe.balance.load needs noise=true: it estimates the load under fresh noise")
        if self.capacity_factor is not None and (self.capacity_factor <= 0 or self.kind in ("soft", "expert_choice")):
            raise ValueError(
                f"model.moe.capacity_factor={self.capacity_factor} must be positive; "
                "it needs a kind in which tokens choose a few experts"
            )
        for key, value in vars(self.balance).items():
            if value < 0:
                raise ValueError(f"model.moe.balance.{key}={value} must not be negative")
        self.layer_numbers(num_layers)

    def layer_numbers(self, num_layers: int) -> list[int]:
        """The layers that are mixtures; ``every_second`` is layers 1, 3, … counted from 0."""
        if self.layers == "all":
            return list(range(num_layers))
        if self.layers == "every_second":
            return list(range(1, num_layers, 2))
        listed = isinstance(self.layers, list) and all(isinstance(number, int) for number in self.layers)
        if not listed or not self.layers or not set(self.layers) <= set(range(num_layers)):
            raise ValueError(
                f"model.moe.layers={self.layers} must be all, every_second or a list of numbers "
                f"from 0 to {num_layers - 1}"
            )
        return sorted(set(self.layers))


@dataclass
class ModelConfig:
    """A decoder. ``d_hidden`` is the feed-forward width of its dense layers; ``swiglu`` is the gated SiLU block.

    ``mixer`` is what lets positions see earlier ones. For ``rg_lru``, the recurrence of Hawk, ``num_heads`` is the
    number of diagonal blocks of its gates and ``d_head`` their width; ``rope_theta`` has no effect. Defaults are
    neutral values, which mean the same as before the setting existed.
    """

    preset: str
    num_layers: int
    d_model: int
    num_heads: int
    d_head: int
    d_hidden: int
    activation: str
    tied_embeddings: bool
    rope_theta: float
    norm_epsilon: float
    mixer: str = "attention"
    moe: MoEConfig | None = None

    def check(self) -> None:
        """Raise ``ValueError`` when there is no such model."""
        for key in ("num_layers", "d_model", "num_heads", "d_head", "d_hidden"):
            if getattr(self, key) < 1:
                raise ValueError(f"model.{key}={getattr(self, key)} is too small; it must be at least 1")
        if self.num_layers > _MOST_LAYERS:
            raise ValueError(f"model.num_layers={self.num_layers} is too large; it must be at most {_MOST_LAYERS}")
        for key in ("rope_theta", "norm_epsilon"):
            if not 0 < getattr(self, key) < float("inf"):
                raise ValueError(f"model.{key}={getattr(self, key)} must be positive")
        if self.mixer not in MIXERS:
            raise ValueError(f"model.mixer={self.mixer} is not one of {', '.join(MIXERS)}")
        if self.d_head % 2 and self.mixer == "attention":
            raise ValueError(f"model.d_head={self.d_head} must be even, because rotary positions turn pairs")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"model.activation={self.activation} is not one of {', '.join(ACTIVATIONS)}")
        if self.moe is not None:
            self.moe.check(self.num_layers)


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters. The ``active`` ones take part in a token's forward pass; in a dense model all do."""

    total: int
    embedding: int
    active: int

    @property
    def non_embedding(self) -> int:
        """All parameters outside the token embedding and, when it is separate, the unembedding."""
        return self.total - self.embedding


def _attention_parameters(config: ModelConfig) -> int:
    return 4 * config.d_model * config.num_heads * config.d_head


def _rg_lru_parameters(config: ModelConfig) -> int:
    """The parameters of three projections, two gates with biases, Λ, and the convolution."""
    width = config.num_heads * config.d_head
    return (3 * config.d_model + 2 * config.d_head + 2 + 1 + CONVOLUTION_WIDTH) * width


# Mixer -> its number of parameters. ``layer.MIXERS`` has their modules.
MIXERS: dict[str, Callable[[ModelConfig], int]] = {"attention": _attention_parameters, "rg_lru": _rg_lru_parameters}


def parameter_counts(config: ModelConfig, vocab_size: int) -> ParameterCounts:
    """The parameter counts of the model that ``config`` describes, from its sizes alone."""
    matrices = 3 if config.activation == "swiglu" else 2
    mixer = MIXERS[config.mixer](config)
    norms = (2 * config.num_layers + 1) * config.d_model
    embedding = (1 if config.tied_embeddings else 2) * vocab_size * config.d_model
    common = config.num_layers * mixer + norms + embedding
    dense = matrices * config.d_model * config.d_hidden
    if (moe := config.moe) is None:
        total = common + config.num_layers * dense
        return ParameterCounts(total, embedding, active=total)
    num_moe = len(moe.layer_numbers(config.num_layers))
    expert = matrices * config.d_model * moe.d_expert
    always = (2 if moe.noise else 1) * config.d_model * moe.num_experts + moe.num_shared * expert
    num_active = moe.num_experts if moe.kind == "soft" else moe.experts_per_token
    always += moe.num_added * (expert + config.d_model + 1)
    common += (config.num_layers - num_moe) * dense + num_moe * always
    return ParameterCounts(
        common + num_moe * moe.num_experts * expert, embedding, active=common + num_moe * num_active * expert
    )
