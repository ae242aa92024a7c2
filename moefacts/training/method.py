"""What a training method is: which weights learn, and what is added to the objective."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from moefacts.config.schema import RunConfig
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batcher


class Method:
    """The method in which all weights learn from the data alone. Other methods override what differs.

    ``model`` holds the weights from which training starts, in a run that is resumed, too. ``batcher`` makes batches of
    any people.
    """

    def __init__(self, config: RunConfig, model: Transformer, batcher: Batcher | None = None):
        self.config = config

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter is trained. Other parameters do not change by a bit, not even by weight decay."""
        return True

    def entries(self, name: str, parameter: nn.Parameter) -> Tensor | None:
        """Which entries of a parameter that learns are trained; None for all.

        True where an entry is trained, in a shape that broadcasts to that of the parameter. The other entries do not
        change by a bit.
        """
        return None

    def penalty(self, model: Transformer, step: int) -> Tensor | None:
        """A scalar to add to the loss of the update after ``step``, in nats per token; None for no penalty."""
        return None


@contextmanager
def measuring(model: nn.Module, seed: int) -> Iterator[None]:
    """A context in which the model is in evaluation mode and random draws follow ``seed``."""
    was_training = model.training
    model.eval()
    torch.manual_seed(seed)  # as every training step does
    try:
        yield
    finally:
        model.train(was_training)
