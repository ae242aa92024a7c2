"""Training methods: which weights learn, and what is added to the objective.

To add a method, write a subclass of ``Method`` here, add it to ``METHODS``, and add its name to
``config.sections.METHODS``. A method with settings of its own gets a section of the configuration.
"""

import torch
from torch import Tensor, nn

from moefacts.config.schema import RunConfig
from moefacts.models.transformer import Transformer
from moefacts.models.weight_groups import groups_of


class Method:
    """The method in which all weights learn from the data alone. Other methods override what differs.

    ``model`` holds the weights from which training starts.
    """

    def __init__(self, config: RunConfig, model: Transformer):
        self.config = config

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter is trained. Other parameters do not change by a bit, not even by weight decay."""
        return True

    def penalty(self, model: Transformer) -> Tensor | None:
        """A scalar to add to the loss of every step, in nats per token; None for no penalty."""
        return None


class Freeze(Method):
    """The weights in ``training.freeze`` stay as they are; freezing the bottom keeps old facts (arXiv 2501.13453)."""

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether it is in none of the frozen groups."""
        return groups_of(name, self.config.model).isdisjoint(self.config.training.freeze)


class L2SP(Method):
    """λ/2 · ‖θ − θ₀‖² is added to the loss, θ₀ being the weights that training starts from (arXiv 1802.01483)."""

    def __init__(self, config: RunConfig, model: Transformer):
        super().__init__(config, model)
        assert config.training.start_penalty is not None
        self._weight = config.training.start_penalty / 2
        self._start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def penalty(self, model: Transformer) -> Tensor:
        """λ/2 · ‖θ − θ₀‖² over all weights."""
        distances = [(parameter - self._start[name]).square().sum() for name, parameter in model.named_parameters()]
        return self._weight * torch.stack(distances).sum()


METHODS: dict[str, type[Method]] = {"full": Method, "freeze": Freeze, "l2_sp": L2SP}


def build_method(config: RunConfig, model: Transformer) -> Method:
    """The method that ``config`` names; gradients of the parameters that it does not train are switched off."""
    method = METHODS[config.training.method](config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(method.learns(name, parameter))
    return method
