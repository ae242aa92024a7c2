"""Logits of the first token of every value, among the first tokens that the values of its attribute have.

Shape legend: B biographies, A attributes, C candidates (distinct first tokens of an attribute's values), V values,
D model width.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.evaluation import Evaluator


@dataclass(frozen=True)
class Candidates:
    """The distinct first tokens of an attribute's values.

    Attributes:
        token_C: their ids.
        place_V: the place of each value's first token among them.
        is_in_half_2C: whether a value of the first half, and of the second, begins with the token.
    """

    token_C: np.ndarray
    place_V: np.ndarray
    is_in_half_2C: np.ndarray


def candidates_of(batcher: Batcher) -> list[Candidates]:
    """The candidates of every attribute."""
    found, population = [], batcher.population
    for attribute in ATTRIBUTES:
        ids = batcher.tokenizer.encode([f" {value}" for value in population.pools.values(attribute)])
        token_C, place_V = np.unique([first for first, *_ in ids], return_inverse=True)
        is_in_half_2C = np.zeros((2, len(token_C)), bool)
        is_in_half_2C[population.half_of_values(attribute), place_V] = True
        found.append(Candidates(token_C, place_V, is_in_half_2C))
    return found


@torch.no_grad()
def first_token_logits(model: Transformer, evaluator: Evaluator, candidates: list[Candidates]) -> list[np.ndarray]:
    """The logits of every attribute's candidates before the true value, centred: one array (B, C) per attribute.

    A constant that is added to all logits means nothing, so their mean over the candidates is subtracted.
    """
    model.eval()
    hidden_BAD = torch.zeros(len(evaluator.plan), len(ATTRIBUTES), model.config.d_model, dtype=torch.float64)
    for rows, batch, at_N, packing in evaluator.batches:
        at_N = at_N[batch.value_position_BT[:, 1:].flatten()[at_N] == 0]
        biography_N = torch.from_numpy(rows)[(at_N // batch.targets_BT.shape[1]).cpu()]
        attribute_N = batch.attribute_BT[:, 1:].flatten()[at_N].cpu()
        hidden_BAD[biography_N, attribute_N] = model(batch.inputs_BT, packing, at_N).hidden.double().cpu()
    unembedding_VD = model.unembedding_VD.double().cpu()
    logits = [F.linear(hidden_BAD[:, a], unembedding_VD[one.token_C]).numpy() for a, one in enumerate(candidates)]
    return [logits_BC - logits_BC.mean(axis=1, keepdims=True) for logits_BC in logits]
