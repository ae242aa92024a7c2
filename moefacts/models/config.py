"""The shape of a model, and how many parameters that makes. Imports no torch, so listing presets is quick."""

from dataclasses import dataclass

ACTIVATIONS = ("gelu", "relu", "swiglu")


@dataclass
class ModelConfig:
    """A dense decoder. ``d_hidden`` is the feed-forward width; ``swiglu`` is the gated SiLU block."""

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

    def check(self) -> None:
        """Raise ``ValueError`` when the sizes make no model."""
        for key in ("num_layers", "d_model", "num_heads", "d_head", "d_hidden"):
            if getattr(self, key) < 1:
                raise ValueError(f"model.{key}={getattr(self, key)} is too small; it must be at least 1")
        if self.d_head % 2:
            raise ValueError(f"model.d_head={self.d_head} must be even, because rotary positions turn pairs")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"model.activation={self.activation} is not one of {', '.join(ACTIVATIONS)}")


@dataclass(frozen=True)
class ParameterCounts:
    """``active`` parameters take part in every token's forward pass; for a dense model that is all of them."""

    total: int
    embedding: int
    active: int

    @property
    def non_embedding(self) -> int:
        """All parameters outside the token embedding and, when it is separate, the unembedding."""
        return self.total - self.embedding


def parameter_counts(config: ModelConfig, vocab_size: int) -> ParameterCounts:
    """Parameters of the model that ``config`` describes, from its sizes alone."""
    attention = 4 * config.d_model * config.num_heads * config.d_head
    feed_forward = (3 if config.activation == "swiglu" else 2) * config.d_model * config.d_hidden
    norms = (2 * config.num_layers + 1) * config.d_model
    embedding = (1 if config.tied_embeddings else 2) * vocab_size * config.d_model
    total = config.num_layers * (attention + feed_forward) + norms + embedding
    return ParameterCounts(total, embedding, active=total)
