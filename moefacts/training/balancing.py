"""Keep experts evenly loaded during training, and measure how evenly they are loaded."""

import torch
from torch import Tensor

from moefacts.models import routing_losses
from moefacts.models.layer import DecoderLayer
from moefacts.models.moe import MixtureOfExperts, Router, Routing
from moefacts.models.routing_losses import LoadSums
from moefacts.models.transformer import Transformer
from moefacts.runs import keys
from moefacts.training.distributed import total

_LOSSES = {
    "importance": routing_losses.importance_loss,
    "load": routing_losses.load_loss,
    "token_balance": routing_losses.token_balance_loss,
    "z_loss": routing_losses.z_loss,
}


class Balancing:
    """The balancing losses and the loss-free biases that the model's configuration asks for."""

    def __init__(self, model: Transformer):
        moe = model.config.moe
        self._weights = {name: getattr(moe.balance, name) for name in _LOSSES} if moe else {}
        self._bias_rate = moe.balance.bias_rate if moe else 0.0
        self._routers: dict[int, Router] = {
            number: layer.feed_forward.router
            for number, layer in enumerate(model.layers)
            if isinstance(layer, DecoderLayer) and isinstance(layer.feed_forward, MixtureOfExperts)
            if layer.feed_forward.router.score.weight.requires_grad  # a frozen router chooses as before
        }

    def loss(self, routings: dict[int, Routing]) -> Tensor:
        """The weighted balancing losses over the tokens of all processes, summed over layers; a scalar."""
        terms = [
            weight * _LOSSES[name](routing, total)
            for routing in routings.values()
            for name, weight in self._weights.items()
            if weight
        ]
        return torch.stack(terms).sum() if terms else torch.zeros(())

    @torch.no_grad()
    def move_biases(self, loads: dict[int, Tensor]) -> None:
        """Move every router's selection bias by its layer's load, if so configured; called after every step."""
        if self._bias_rate:
            for number, router in self._routers.items():
                bias_E = router.selection_bias_E
                bias_E.copy_(routing_losses.updated_selection_bias(bias_E, total(loads[number]), self._bias_rate))


def summarize_loads(loads: dict[int, LoadSums]) -> dict[str, float]:
    """Load metrics of every layer and expert, under the keys that ``keys.routing_key`` makes."""
    record: dict[str, float] = {}
    for number, sums in loads.items():
        for name, value in routing_losses.load_measures(sums).items():
            if name.endswith("_E"):
                measure = name.removesuffix("_E")
                record |= {keys.routing_key(number, measure, e): share for e, share in enumerate(value.tolist())}
            else:
                record[keys.routing_key(number, name)] = value.item()
    return record
