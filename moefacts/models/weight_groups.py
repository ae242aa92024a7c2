"""The groups of a model's weights by their names, so that some can be kept as they are. Imports no torch."""

from moefacts.models.architecture import ModelConfig

EMBEDDINGS, HEAD, NORMS = "embeddings", "head", "norms"
ATTENTION, RECURRENCE, MLP, ROUTER, EXPERTS = "attention", "recurrence", "mlp", "router", "experts"


def weight_groups(config: ModelConfig) -> list[str]:
    """All groups that a model has: kinds of weights, and its layers. Tied embeddings are the head, too."""
    mixtures = [] if config.moe is None else config.moe.layer_numbers(config.num_layers)
    groups = [EMBEDDINGS, *([] if config.tied_embeddings else [HEAD]), NORMS]
    groups.append(ATTENTION if config.mixer == "attention" else RECURRENCE)
    groups += [MLP] * (len(mixtures) < config.num_layers) + [ROUTER, EXPERTS] * bool(mixtures)
    return [*groups, *(f"layer_{number}" for number in range(config.num_layers))]


def groups_of(parameter: str, config: ModelConfig) -> set[str]:
    """The groups that a parameter belongs to, given its name in ``Transformer.named_parameters``.

    Every parameter belongs to one kind; those in a layer, its norms included, also to the layer. Shared experts
    and those added later, with their gates, are experts.
    """
    if not parameter.startswith("layers."):
        return {{"embedding": EMBEDDINGS, "unembedding": HEAD}.get(parameter.partition(".")[0], NORMS)}
    _, number, part, *rest = parameter.split(".")
    kind = MLP
    if part.endswith("_norm"):
        kind = NORMS
    elif part == "mixer":
        kind = ATTENTION if config.mixer == "attention" else RECURRENCE
    elif rest[0] in ("router", "experts", "shared", "added"):
        kind = ROUTER if rest[0] == "router" else EXPERTS
    return {kind, f"layer_{number}"}
