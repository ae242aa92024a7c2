"""Training methods: which weights learn, and what is added to the objective.

To add a method, write a subclass of ``Method`` here, add it to ``METHODS``, and add its name to
``config.sections.METHODS``. A method with settings of its own gets a section of the configuration.
"""

from torch import Tensor, nn

from moefacts.config.schema import RunConfig
from moefacts.models.transformer import Transformer


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


METHODS: dict[str, type[Method]] = {"full": Method}


def build_method(config: RunConfig, model: Transformer) -> Method:
    """The method that ``config`` names; gradients of the parameters that it does not train are switched off."""
    method = METHODS[config.training.method](config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(method.learns(name, parameter))
    return method
