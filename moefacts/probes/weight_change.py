"""Weights with a part of the change between two checkpoints undone, a share of it, or without its top direction.

Weights are dictionaries of tensors by name, as ``state_dict`` returns them; the two have the same names and shapes.
Nothing here changes its arguments.

Shape legend: Y outputs, X inputs of a matrix.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Weights = dict[str, Tensor]

QUERY_KEY, VALUE_OUTPUT, RECURRENCE, MLP = "query_key", "value_output", "recurrence", "mlp"
ROUTER, EXPERTS, EMBEDDINGS, NORMS = "router", "experts", "embeddings", "norms"
GROUPS = (QUERY_KEY, VALUE_OUTPUT, RECURRENCE, MLP, ROUTER, EXPERTS, EMBEDDINGS, NORMS)
_QKV, _OUT = ".mixer.qkv.weight", ".mixer.out.weight"


def groups_of(weights: Weights) -> dict[str, list[tuple[str, slice]]]:
    """The groups of a model's weights: name -> tensors, and the rows of each that belong to it.

    Queries, keys and values come from one projection, whose rows are in this order. Shared experts are experts, and
    embeddings include the unembedding.
    """
    found: dict[str, list[tuple[str, slice]]] = {}
    for name, tensor in weights.items():
        if name.endswith(_QKV):
            third = len(tensor) // 3
            found.setdefault(QUERY_KEY, []).append((name, slice(0, 2 * third)))
            found.setdefault(VALUE_OUTPUT, []).append((name, slice(2 * third, None)))
        else:
            found.setdefault(_group(name, weights), []).append((name, slice(None)))
    return {group: found[group] for group in GROUPS if group in found}


def _group(name: str, weights: Weights) -> str:
    if name.endswith("norm.weight"):
        return NORMS
    if ".feed_forward." in name:
        if ".router." in name:
            return ROUTER
        return EXPERTS if ".experts." in name or ".shared." in name else MLP
    if name.endswith(_OUT) and name.replace(_OUT, _QKV) in weights:
        return VALUE_OUTPUT
    if ".mixer." in name:
        return RECURRENCE
    assert "embedding" in name, name
    return EMBEDDINGS


def restored(before: Weights, after: Weights, group: str) -> Weights:
    """``after`` with one group as it is in ``before``."""
    weights = {name: tensor.clone() for name, tensor in after.items()}
    for name, rows in groups_of(after)[group]:
        weights[name][rows] = before[name][rows]
    return weights


def relative_change(before: Weights, after: Weights, group: str) -> float:
    """‖θ₁ − θ₀‖ / ‖θ₀‖ over the weights of one group; 0 if they are all 0 and stay so."""
    change = size = 0.0
    for name, rows in groups_of(after)[group]:
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
    spares the embeddings.
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
        if in_layers_only and _group(name, after) == EMBEDDINGS:
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
