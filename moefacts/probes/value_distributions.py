"""The exact distribution of a model over all values of an attribute, in one pass over each biography.

The value set is closed, so no value has to be sampled. A value of several tokens has the product of their
probabilities, each after the value's own tokens before it and never after the true value's. Values share their
beginnings, and all beginnings are read at once (``models.branches``).

Shape legend: B biographies, A attributes, F beginnings of values (the empty one of every attribute and whole values
included), M those that go on and are not empty, V answers about one attribute, L tokens of one, Z answers that are no
value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from moefacts.models.branches import Trees, read_branches
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.evaluation import Biographies


@dataclass(frozen=True)
class Beginnings:
    """The beginnings of all values of all attributes, in depth-first order, attribute by attribute.

    Attributes:
        token_F: the last token; -1 for the empty beginning of an attribute.
        parent_F: the beginning without this token; -1 for the empty one.
        depth_F: the number of tokens.
        attribute_F: the attribute.
        goes_on_F: whether it is shorter than a value that it begins.
        value_AV: for every attribute, which beginning each whole value is; last are the answers that are no value.
        num_abstentions: how many these are.
    """

    token_F: np.ndarray
    parent_F: np.ndarray
    depth_F: np.ndarray
    attribute_F: np.ndarray
    goes_on_F: np.ndarray
    value_AV: list[np.ndarray]
    num_abstentions: int

    @cached_property
    def read_M(self) -> np.ndarray:
        """The beginnings that the model has to read: those that go on and are not empty."""
        return np.flatnonzero(self.goes_on_F & (self.depth_F > 0))

    def trees(self, device: torch.device) -> Trees:
        """The beginnings to read, as trees that continue the text before each attribute's value."""
        place_F = np.full(len(self.token_F), -1)
        place_F[self.read_M] = np.arange(len(self.read_M))
        node_M, paths = self.read_M, []
        for _ in range(int(self.depth_F[self.read_M].max(initial=0))):
            paths.append(np.where(node_M >= 0, place_F[node_M], -1))
            node_M = np.where(node_M >= 0, self.parent_F[node_M], -1)
        path_ML = np.stack(paths, axis=1) if paths else np.zeros((0, 1), np.int64)
        arrays = (self.token_F[self.read_M], self.attribute_F[self.read_M], path_ML)
        return Trees(*(torch.from_numpy(array).to(device) for array in arrays))


def beginnings_of(batcher: Batcher) -> Beginnings:
    """The beginnings of all values of the batcher's population, and of what the model was taught to say instead.

    None of these answers begins with another one.
    """
    pools, encode = batcher.population.pools, batcher.tokenizer.encode
    answers = [(*pools.values(attribute), *batcher.abstentions) for attribute in ATTRIBUTES]
    values = [encode([f" {answer}" for answer in every]) for every in answers]
    found = sorted({(a, *ids[:n]) for a, every in enumerate(values) for ids in every for n in range(len(ids) + 1)})
    place = {beginning: number for number, beginning in enumerate(found)}
    parent_F = np.array([place[beginning[:-1]] if len(beginning) > 1 else -1 for beginning in found])
    goes_on_F = np.zeros(len(found), bool)
    goes_on_F[parent_F[parent_F >= 0]] = True
    return Beginnings(
        token_F=np.array([beginning[-1] if len(beginning) > 1 else -1 for beginning in found]),
        parent_F=parent_F,
        depth_F=np.array([len(beginning) - 1 for beginning in found]),
        attribute_F=np.array([beginning[0] for beginning in found]),
        goes_on_F=goes_on_F,
        value_AV=[np.array([place[(a, *ids)] for ids in every]) for a, every in enumerate(values)],
        num_abstentions=len(batcher.abstentions),
    )


@torch.no_grad()
def value_log_probabilities(
    model: Transformer, biographies: Biographies, beginnings: Beginnings
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """ln p(answer | text before it) of every value, for the text of every biography up to each of its values.

    Yields:
        Rows of the biographies' plan, (B,), and one array (B, V) for every attribute, float64. V counts the values and,
        after them, the answers that are no value.
    """
    model.eval()
    trees = beginnings.trees(biographies.batches[0][1].token_BT.device)
    for rows, batch, at_N, packing in biographies.batches:
        first_N = at_N[batch.value_position_BT[:, 1:].flatten()[at_N] == 0]  # input positions: each predicts its value
        row_N, attribute_N = first_N // batch.targets_BT.shape[1], batch.attribute_BT[:, 1:].flatten()[first_N]
        last_BA = torch.zeros(len(rows), len(ATTRIBUTES), dtype=torch.long, device=first_N.device)
        last_BA[row_N, attribute_N] = first_N % batch.targets_BT.shape[1]
        states = read_branches(model, batch.inputs_BT, packing, last_BA, trees, model.vocab_size)
        yield rows, _of_batch(model, states, beginnings)


def _of_batch(
    model: Transformer, states: tuple[Tensor, Iterator[tuple[Tensor, Tensor]]], beginnings: Beginnings
) -> list[np.ndarray]:
    empty_BAD, chunks = states
    empty_A = np.flatnonzero(beginnings.depth_F == 0)
    log_p_BF = np.zeros((len(empty_BAD), len(beginnings.token_F)))
    order_F = np.argsort(beginnings.parent_F, kind="stable")
    sorted_parent_F = beginnings.parent_F[order_F]

    def fill(parent_C: np.ndarray, state_BCD: Tensor) -> None:
        """The last token's log probability of every beginning that continues one of ``parent_C``, ascending."""
        start_C, stop_C = (np.searchsorted(sorted_parent_F, parent_C, side) for side in ("left", "right"))
        child_N = order_F[np.concatenate([np.arange(a, b) for a, b in zip(start_C, stop_C, strict=True)])]
        place_N = np.repeat(np.arange(len(parent_C)), stop_C - start_C)
        at_N = torch.from_numpy(place_N * model.vocab_size + beginnings.token_F[child_N]).to(state_BCD.device)
        log_p_BCV = model.unembed(state_BCD).float().log_softmax(dim=-1)
        log_p_BF[:, child_N] = log_p_BCV.flatten(1).index_select(1, at_N).cpu().numpy()

    fill(empty_A, empty_BAD)
    for node_C, state_BCD in chunks:
        fill(beginnings.read_M[node_C.cpu().numpy()], state_BCD)
    for depth in range(2, int(beginnings.depth_F.max()) + 1):
        here = np.flatnonzero(beginnings.depth_F == depth)
        log_p_BF[:, here] += log_p_BF[:, beginnings.parent_F[here]]
    return [log_p_BF[:, value_V] for value_V in beginnings.value_AV]


@dataclass(frozen=True)
class Decisions:
    """What follows from distributions over values, each of shape (B,).

    Attributes:
        answer: the likeliest value; of equals, the first.
        confidence: its probability.
        loss: -ln of the true value's probability, in nats.
        entropy: that of the distribution given that the answer is one of the values, in nats.
        mass: the probability that the answer is one of the values.
        abstained: whether an answer that is no value is likelier than all values.
    """

    answer: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray
    entropy: np.ndarray
    mass: np.ndarray
    abstained: np.ndarray


def decide(log_p_BV: np.ndarray, truth_B: np.ndarray, num_abstentions: int = 0) -> Decisions:
    """The decisions that follow from ln p of every answer, (B, V), and the true values.

    The last ``num_abstentions`` answers are no values. They are not in ``mass``; only ``abstained`` depends on them.
    """
    num_values = log_p_BV.shape[1] - num_abstentions
    log_p_BV, log_other_BZ = log_p_BV[:, :num_values], log_p_BV[:, num_values:]
    largest_B1 = log_p_BV.max(axis=1, keepdims=True)
    log_mass_B = largest_B1[:, 0] + np.log(np.exp(log_p_BV - largest_B1).sum(axis=1))
    q_BV = np.exp(log_p_BV - log_mass_B[:, None])
    entropy_B = log_mass_B - (q_BV * log_p_BV).sum(axis=1)
    return Decisions(
        answer=log_p_BV.argmax(axis=1),
        confidence=np.exp(largest_B1[:, 0]),
        loss=-np.take_along_axis(log_p_BV, truth_B[:, None], axis=1)[:, 0],
        entropy=entropy_B.clip(min=0),
        mass=np.exp(log_mass_B),
        abstained=log_other_BZ.max(axis=1, initial=-np.inf) > largest_B1[:, 0],
    )
