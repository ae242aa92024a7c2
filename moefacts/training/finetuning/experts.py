"""Expert-specialised fine-tuning: only the experts that the new people's biographies use are trained.

Shape legend: N tokens, E experts, A assignments of a token to an expert.
"""

import torch
from torch import Tensor, nn

from moefacts.config.schema import RunConfig
from moefacts.models.architecture import MoEConfig
from moefacts.models.moe import Routing
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.randomness import stream_key
from moefacts.training.method import Method, measuring
from moefacts.training.pack import pack


class ESFT(Method):
    """In every mixture, the smallest set of experts learns whose relevance to the new people adds up to a share.

    The share is ``method.expert_share`` of the relevance of all experts of the layer (Wang et al. 2024, arXiv
    2407.01906, section 3.2). Everything else stays as it is: routers, shared experts, attention, embeddings, norms.
    """

    def __init__(self, config: RunConfig, model: Transformer, batcher: Batcher | None = None):
        super().__init__(config, model, batcher)
        share = config.method.expert_share
        assert batcher is not None
        assert share is not None
        self.chosen = {
            layer: smallest_set(r_E, share) for layer, r_E in expert_relevance(config, model, batcher).items()
        }

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether it holds weights of experts."""
        return ".feed_forward.experts." in name

    def entries(self, name: str, parameter: nn.Parameter) -> Tensor:
        """True for the chosen experts, shape (E, 1, 1)."""
        return self.chosen[int(name.split(".")[1])][:, None, None]


@torch.no_grad()
def expert_relevance(config: RunConfig, model: Transformer, batcher: Batcher) -> dict[int, Tensor]:
    """The relevance of every expert to the people who are learned, which adds up to 1 over the experts of a layer.

    With ``method.relevance`` ``gate`` it is the mean over tokens of the expert's weight in the output, and with
    ``selection`` the share of choices that fall on it: the mean number of times a token chooses it, over K.

    Returns:
        Layer number -> relevance, shape (E,), in double precision.
    """
    assert config.method.batches is not None
    mixture = config.model.moe
    assert mixture is not None
    sums: dict[int, Tensor] = {}
    with measuring(model, stream_key(config.seed, "relevance")):
        for number in range(config.method.batches):
            batch = batcher.cohort_batch(config.sampling.cohort, "relevance", number, config.training.batch_size)
            for layer, routing in model(batch.inputs_BT, pack(batch)).routings.items():
                by_selection = config.method.relevance == "selection"
                amount_E = routing.load_E if by_selection else output_weights(routing, mixture).sum(dim=0)
                sums[layer] = sums.get(layer, 0) + amount_E.double()
    return {layer: sum_E / sum_E.sum() for layer, sum_E in sums.items()}


def output_weights(routing: Routing, config: MoEConfig) -> Tensor:
    """The weight of every expert in the output for every token, zero if it takes no part, shape (N, E)."""
    if config.kind == "soft":
        return routing.gates_NE
    weight_A = routing.weight_A * routing.kept_A
    return torch.zeros_like(routing.gates_NE).index_put((routing.token_A, routing.expert_A), weight_A)


def smallest_set(relevance_E: Tensor, share: float) -> Tensor:
    """True for the fewest experts whose relevance adds up to at least ``share``, shape (E,)."""
    order_E = relevance_E.argsort(descending=True, stable=True)
    before_E = relevance_E[order_E].cumsum(0) - relevance_E[order_E]  # of the experts that come first
    chosen_E = torch.zeros_like(relevance_E, dtype=torch.bool)
    chosen_E[order_E[before_E < share]] = True
    return chosen_E
