"""The experts that the routers of a trained mixture choose for every token, with labels of these tokens.

Shape legend: N tokens, E experts, K experts chosen per token, M = N·K assignments, L labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from moefacts.models.layer import DecoderLayer
from moefacts.models.moe import MixtureOfExperts
from moefacts.models.transformer import Transformer
from moefacts.training.evaluation import Evaluator


@dataclass(frozen=True)
class Tokens:
    """Labels of the tokens that a router saw: role, attribute, the individual of the biography, and token id."""

    role_N: np.ndarray
    attribute_N: np.ndarray
    individual_N: np.ndarray
    id_N: np.ndarray


@dataclass(frozen=True)
class LayerChoices:
    """The experts that every token chose in one layer, best first, out of ``num_experts``."""

    expert_NK: np.ndarray
    num_experts: int

    def counts_by(self, label_N: np.ndarray, num_labels: int) -> np.ndarray:
        """How often tokens of each label use each expert, shape (L, E); tokens with a negative label are left out."""
        label_M = np.repeat(label_N, self.expert_NK.shape[1])
        kept_M = label_M >= 0
        cells = label_M[kept_M] * self.num_experts + self.expert_NK.ravel()[kept_M]
        return np.bincount(cells, minlength=num_labels * self.num_experts).reshape(num_labels, self.num_experts)


@torch.no_grad()
def collect(model: Transformer, evaluator: Evaluator) -> tuple[Tokens, dict[int, LayerChoices]]:
    """Run the biographies of ``evaluator`` through the model and keep what its routers chose."""
    model.eval()
    labels: list[tuple[np.ndarray, ...]] = []
    chosen: dict[int, list[np.ndarray]] = {}
    for _, batch, _, packing in evaluator.batches:
        for layer, routing in model(batch.inputs_BT, packing).routings.items():
            chosen.setdefault(layer, []).append(routing.expert_NK.cpu().numpy())
        individual_BT = batch.individual_B[:, None].expand(batch.inputs_BT.shape)
        fields = (batch.role_BT[:, :-1], batch.attribute_BT[:, :-1], individual_BT, batch.inputs_BT)
        labels.append(tuple(field.flatten()[packing.real_N].cpu().numpy() for field in fields))
    columns = [np.concatenate(column) for column in zip(*labels, strict=True)]
    choices = {
        layer: LayerChoices(np.concatenate(parts), _mixture(model, layer).config.num_experts)
        for layer, parts in chosen.items()
    }
    return Tokens(*columns), choices


def _mixture(model: Transformer, layer: int) -> MixtureOfExperts:
    return dict(mixtures(model))[layer]


def mixtures(model: Transformer) -> Iterator[tuple[int, MixtureOfExperts]]:
    """The mixtures of ``model`` with the numbers of their layers, counted from 0."""
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, DecoderLayer)
        if isinstance(layer.feed_forward, MixtureOfExperts):
            yield number, layer.feed_forward
