"""Weights of which only some entries are trained."""

import torch
from torch import nn

from moefacts.training.method import Method


class PartialWeights:
    """Keeps the entries of parameters that a method does not train as they are, to the bit.

    A gradient of zero is not enough: weight decay would move them (arXiv 1711.05101). So they are put back after every
    update.
    """

    def __init__(self, model: nn.Module, method: Method):
        learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        masks = {name: method.entries(name, parameter) for name, parameter in learning.items()}
        self._parts = [
            (parameter, mask, parameter.detach().clone())
            for name, parameter in learning.items()
            if (mask := masks[name]) is not None
        ]
        kept = sum(int((~mask).expand_as(parameter).sum()) for parameter, mask, _ in self._parts)
        self.num_trained = sum(parameter.numel() for parameter in learning.values()) - kept  # entries that learn

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Set the gradients of entries that are not trained to zero; they do not count in the gradient's norm."""
        for parameter, mask, _ in self._parts:
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    @torch.no_grad()
    def restore(self) -> None:
        """Put back the entries that are not trained."""
        for parameter, mask, start in self._parts:
            parameter.copy_(torch.where(mask, parameter, start))
