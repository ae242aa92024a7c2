"""The toy memory of Palit et al. 2026, in which new facts make old ones inaccessible for a while.

Its three ingredients are a direction that all keys share, new values from one half of the old ones, and normalisation
between its two linear layers. The protocol gives the keys, the layers and the widths of keys and values. The rest is
chosen here, as plainly as possible: the hidden layer is as wide as a key, there are no biases, initial weights are
normal with variance 1 / inputs, and the normalisation has no learned scale.

Shape legend: N keys, B keys in a batch, D width of keys and of the hidden layer, V values.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moefacts.models.key_value_memory import initial_weights, unit_vectors


def keys_with_shared_direction(count: int, width: int, share: float, generator: torch.Generator) -> Tensor:
    """Keys k_i = sqrt(share) μ + sqrt(1 - share) e_i, with μ and all e_i uniform on the unit sphere.

    Args:
        count: the number of keys, N.
        width: their width, D.
        share: α, the expected inner product of two keys, from 0 to 1.
        generator: draws μ first, then the e_i, so that keys of different ``share`` have them in common.

    Returns:
        Keys of shape (N, D), whose expected squared length is 1.
    """
    shared_1D = unit_vectors(1, width, generator)
    own_ND = unit_vectors(count, width, generator)
    return share**0.5 * shared_1D + (1 - share) ** 0.5 * own_ND


class SharedDirectionMemory(nn.Module):
    """``rms_norm(key @ first) @ last``.

    Args:
        width: the width of keys and of the hidden layer.
        num_values: the number of values.
        is_normalised: whether the hidden vector is divided by its root mean square. Otherwise it is multiplied by the
            constant sqrt(width), which gives it the same expected squared length at the initial weights.
        generator: draws the initial weights.
    """

    def __init__(self, width: int, num_values: int, is_normalised: bool, generator: torch.Generator):
        super().__init__()
        self.is_normalised = is_normalised
        self.first_DD = initial_weights(width, width, generator)
        self.last_DV = initial_weights(width, num_values, generator)

    def forward(self, key_BD: Tensor) -> Tensor:
        """The logits of all values for each key; shape (B, V)."""
        hidden_BD = key_BD @ self.first_DD
        width = hidden_BD.shape[-1]
        hidden_BD = F.rms_norm(hidden_BD, (width,)) if self.is_normalised else width**0.5 * hidden_BD
        return hidden_BD @ self.last_DV
