"""The study's toy memory (arXiv 2503.21676, Figures Q and R): two layers that answer a key with the class of its value.

Keys and values are directions. There are as many values as classes, and many keys share each of them.

The protocol gives the width, the number of units and the number of classes. The rest is chosen here, as plainly as
possible: no biases, normal initial weights of variance 1 / inputs, fixed values, and the scores of a classifier.

Shape legend: B keys in a batch, D width of keys and values, U units, C classes. Where several copies of a memory are
trained side by side, weights, keys and logits have one more axis for them, in front.
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Memory = TypeVar("Memory", bound=nn.Module)


def unit_vectors(count: int, width: int, generator: torch.Generator) -> Tensor:
    """Independent directions, uniform on the unit sphere; shape (count, width)."""
    return F.normalize(torch.randn(count, width, generator=generator), dim=1)


def initial_weights(num_inputs: int, num_outputs: int, generator: torch.Generator) -> nn.Parameter:
    """Normal weights of variance 1 / ``num_inputs``; shape (num_inputs, num_outputs)."""
    return nn.Parameter(num_inputs**-0.5 * torch.randn(num_inputs, num_outputs, generator=generator))


def in_copies(memory: Memory, count: int) -> Memory:
    """``count`` copies of a memory in one, whose gradients do not mix when their losses are added."""
    copies = copy.deepcopy(memory)
    for parameter in copies.parameters():
        parameter.data = parameter.data.expand(count, *parameter.shape).clone()
    return copies


class KeyValueMemory(nn.Module):
    """``relu(key @ up) @ down``, scored by its inner products with the values.

    Args:
        value_CD: the value of each class; it is not trained.
        num_units: the number of ReLU units.
        generator: draws the initial weights.
    """

    value_CD: Tensor

    def __init__(self, value_CD: Tensor, num_units: int, generator: torch.Generator):
        super().__init__()
        width = value_CD.shape[1]
        self.up_DU = initial_weights(width, num_units, generator)
        self.down_UD = initial_weights(num_units, width, generator)
        self.register_buffer("value_CD", value_CD)

    def forward(self, key_BD: Tensor) -> Tensor:
        """The logits of all classes for each key; shape (B, C)."""
        recalled_BD = F.relu(key_BD @ self.up_DU) @ self.down_UD
        return recalled_BD @ self.value_CD.T
