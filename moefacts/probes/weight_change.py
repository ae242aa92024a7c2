"""Weights with a part of the change between two checkpoints undone, a share of it, or without its top direction.

Weights are dictionaries of tensors by name, as ``state_dict`` returns them; the two have the same names and shapes.
Nothing here changes its arguments.

Shape legend: Y outputs, X inputs of a matrix.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from moefacts.models.architecture import ModelConfig
from moefacts.models.weight_groups import ATTENTION, groups_of

Weights = dict[str, Tensor]

Parts = list[tuple[str, slice]]  # tensors by name, and the rows of each that are meant

QUERY_KEY, VALUE_OUTPUT = "query_key", "value_output"
_QKV, _IN_LAYERS = ".mixer.qkv.weight", "layers."


def parts_of_groups(weights: Weights, config: ModelConfig) -> dict[str, Parts]:
    """The kinds of weights that a model has, those of ``models.weight_groups`` with attention in two groups.

    These are ``query_key`` and ``value_output``: queries, keys and values come from one projection, whose rows are in
    this order.
    """
    found: dict[str, Parts] = {}
    for name, tensor in weights.items():
        (kind,) = (group for group in groups_of(name, config) if not group.startswith("layer_"))
        if name.endswith(_QKV):
            third = len(tensor) // 3
            found.setdefault(QUERY_KEY, []).append((name, slice(0, 2 * third)))
            found.setdefault(VALUE_OUTPUT, []).append((name, slice(2 * third, None)))
        else:
            found.setdefault(VALUE_OUTPUT if kind == ATTENTION else kind, []).append((name, slice(None)))
    return found


def restored(before: Weights, after: Weights, parts: Parts) -> Weights:
    """``after`` with these parts as they are in ``before``."""
    weights = {name: tensor.clone() for name, tensor in after.items()}
    for name, rows in parts:
        weights[name][rows] = before[name][rows]
    return weights


def relative_change(before: Weights, after: Weights, parts: Parts) -> float:
    """‖θ₁ − θ₀‖ / ‖θ₀‖ over these parts; 0 if θ₀ is 0 there."""
    change = size = 0.0
    for name, rows in parts:
        start = before[name][rows].double()
        change += float((after[name][rows].double() - start).square().sum())
        size += float(start.square().sum())
    return math.sqrt(change / size) if size else 0.0


def interpolated(before: Weights, after: Weights, amount: float) -> Weights:
    """θ₀ + a (θ₁ − θ₀) (Wortsman et al. 2022, WiSE-FT)."""
    return {
        name: torch.lerp(before[name].double(), after[name].double(), amount).to(after[name].dtype) for name in after
    }


def without_top_direction(before: Weights, after: Weights, in_layers_only: bool = False) -> Weights:
    """``after`` without the top singular direction σ₁ u₁ v₁ᵀ of the change of every matrix (Palit et al. 2026).

    Queries, keys, values and every expert have matrices of their own. Vectors stay as they are. ``in_layers_only``
    spares embeddings and head.
    """
    return _changed(before, after, in_layers_only, lambda change_YX: change_YX - top_direction(change_YX))


def without_random_direction(
    before: Weights, after: Weights, generator: torch.Generator, in_layers_only: bool = False
) -> Weights:
    """The control of ``without_top_direction``: a random rank-one matrix σ₁ p qᵀ, p and q unit vectors, is removed."""

    def less(change_YX: Tensor) -> Tensor:
        column_Y1, row_1X = (
            torch.nn.functional.normalize(torch.randn(size, generator=generator, dtype=torch.float64), dim=0)
            for size in change_YX.shape
        )
        direction_YX = torch.outer(column_Y1, row_1X).to(change_YX.device)
        return change_YX - torch.linalg.norm(top_direction(change_YX)) * direction_YX

    return _changed(before, after, in_layers_only, less)


def top_direction(change_YX: Tensor) -> Tensor:
    """The best approximation of a matrix by one of rank one, in fp64: its projection on its top singular vector.

    That vector is the top eigenvector of the smaller of M Mᵀ and Mᵀ M, which is exact and needs no decomposition of a
    tall embedding.
    """
    change_YX = change_YX.double()
    if change_YX.shape[0] < change_YX.shape[1]:
        return top_direction(change_YX.T).T
    vector_X = torch.linalg.eigh(change_YX.T @ change_YX).eigenvectors[:, -1]
    return torch.outer(change_YX @ vector_X, vector_X)


def _changed(before: Weights, after: Weights, in_layers_only: bool, less: Callable[[Tensor], Tensor]) -> Weights:
    weights = {name: tensor.clone() for name, tensor in after.items()}
    for name in weights:
        if in_layers_only and not name.startswith(_IN_LAYERS):
            continue
        for ours_YX, start_YX in zip(_matrices(name, weights[name]), _matrices(name, before[name]), strict=True):
            ours_YX.copy_(start_YX.double() + less(ours_YX.double() - start_YX.double()))
    return weights


def _matrices(name: str, tensor: Tensor) -> Iterator[Tensor]:
    """Views of the matrices in a tensor; none of a vector."""
    if name.endswith(_QKV):
        yield from tensor.chunk(3)
    elif tensor.ndim == 3:
        yield from tensor
    elif tensor.ndim == 2:
        yield tensor
