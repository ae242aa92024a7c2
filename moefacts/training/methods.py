"""How training moves the weights: which of them learn, and what is added to the objective.

To add a method, write a subclass of ``Method`` here, put it into ``METHODS``, and put its name into
``config.sections.METHODS``. A method that needs settings of its own gets a section of the configuration.
"""

from torch import Tensor, nn

from moefacts.config.schema import RunConfig
from moefacts.models.transformer import Transformer


class Method:
    """All weights learn from the data alone. Other methods override what differs."""

    def __init__(self, config: RunConfig, model: Transformer):
        """Receive the model with the weights from which training starts."""
        self.config = config

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter is trained. One that is not stays as it is, bit for bit: no weight decay moves it."""
        return True

    def penalty(self, model: Transformer) -> Tensor | None:
        """A scalar that is added to the loss of every step, in nats per token; None for nothing."""
        return None


METHODS: dict[str, type[Method]] = {"full": Method}


def build_method(config: RunConfig, model: Transformer) -> Method:
    """The method that ``config`` names; ``model`` is left with the gradients switched off that it does not need."""
    method = METHODS[config.training.method](config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(method.learns(name, parameter))
    return method
