"""Low-rank changes of weights as checkpoints hold them, and the plain weights that they amount to.

Shape legend: E experts, F outputs, D inputs, R rank.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

_MARK, _ORIGINAL = ".parametrizations.", ".original"  # of torch.nn.utils.parametrize
_PARTS = ("lora_A.weight", "lora_B.weight", "scaling")  # of a change: A, B, and α / r


def low_rank_change(down: Tensor, up: Tensor, scaling: Tensor, shape: torch.Size) -> Tensor:
    """The change (α / r) · B · A of a weight, in the layout of peft (arXiv 2106.09685, section 4.1).

    Args:
        down: A, shape (R, D); of experts with stacked weights (E * R, D), expert by expert.
        up: B, shape (F, R); of experts (F, R * E), where the expert is the fastest axis.
        scaling: α / r, a scalar.
        shape: that of the weight, (F, D) or (E, F, D).
    """
    if len(shape) == 2 or shape[0] == 1:
        return ((up @ down) * float(scaling)).view(shape)
    down_ERD, up_FRE = down.reshape(shape[0], -1, shape[2]), up.reshape(shape[1], -1, shape[0])
    return torch.einsum("o r e, e r i -> e o i", up_FRE, down_ERD) * float(scaling)


def are_adapted(names: Iterable[str]) -> bool:
    """Whether some of these weights are held as an original and a change."""
    return any(_MARK in name for name in names)


def merged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a checkpoint by the names of a plain model, with changes added to their originals."""
    plain = {}
    for name, tensor in tensors.items():
        owner, mark, rest = name.partition(_MARK)
        if not mark:
            plain[name] = tensor
        elif rest.endswith(_ORIGINAL):
            weight = rest.removesuffix(_ORIGINAL)
            change = f"{owner}{mark}{weight}.0."
            down, up, scaling = (tensors[change + part] for part in _PARTS)
            plain[f"{owner}.{weight}"] = tensor + low_rank_change(down, up, scaling, tensor.shape)
    return plain
