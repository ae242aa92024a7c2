"""What a model does while it reads chosen biographies: its answers, its attention, and the experts of every token.

Shape legend: B biographies, Q values of a biography in reading order, K answers, L layers, T tokens, H heads,
V answers about one attribute.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from moefacts.models.transformer import ATTENTION, Transformer
from moefacts.probes.attention_signatures import places_of
from moefacts.probes.value_distributions import Beginnings, value_log_probabilities
from moefacts.synthetic_data.population import Population
from moefacts.training.evaluation import Biographies


@dataclass(frozen=True)
class Reading:
    """What a model does while it reads one biography.

    Attributes:
        answer_QK: the likeliest answers at each value, best first, as indices into the values of its attribute; the
            indices after the last value are the answers that are no value.
        probability_QK: their probabilities, as in ``probes.decisions``.
        truth_Q: the probability of each true value.
        attention_LT: for each value, the attention from the token before it to every token up to that one, the mean
            over heads; without layers if the model has no attention.
        expert_T: layer -> the router's first choice for every token; empty for a dense model.
    """

    answer_QK: np.ndarray
    probability_QK: np.ndarray
    truth_Q: np.ndarray
    attention_LT: list[np.ndarray]
    expert_T: dict[int, np.ndarray]


@torch.no_grad()
def readings(
    model: Transformer, biographies: Biographies, beginnings: Beginnings, population: Population, top: int
) -> Iterator[tuple[int, Reading]]:
    """What ``model`` does while it reads each of ``biographies``.

    The text before a value is the true one. Of the value itself nothing is given. Of the answers at every value the
    ``top`` likeliest are kept, or as many as every attribute has.

    Yields:
        A row of the biographies' plan, and its reading; every row once.
    """
    model.eval()
    top = min(top, *(len(value_V) for value_V in beginnings.value_AV))
    answers = value_log_probabilities(model, biographies, beginnings)
    for (rows, batch, _, packing), (_, log_p_ABV) in zip(biographies.batches, answers, strict=True):
        at_BQ = places_of(batch)["attribute"]
        row_B1 = torch.arange(len(rows), device=at_BQ.device)[:, None]
        output = model(batch.inputs_BT, packing, row_B1 * packing.width + at_BQ, keep={ATTENTION})
        attention_BQLT = np.zeros((*at_BQ.shape, len(output.attention), packing.width), dtype=np.float32)
        for layer, attention_BHQT in enumerate(output.attention.values()):
            attention_BQLT[:, :, layer] = attention_BHQT.float().mean(dim=1).cpu().numpy()
        expert_N = {layer: routing.expert_NK[:, 0].cpu().numpy() for layer, routing in output.routings.items()}
        stop_B = np.cumsum(packing.length_B)
        for place, row in enumerate(rows.tolist()):
            attributes, at_Q = biographies.plan.attribute_BA[row].tolist(), at_BQ[place].tolist()
            log_p_QV = [log_p_ABV[attribute][place] for attribute in attributes]
            answer_QK = [np.argsort(-log_p_V, kind="stable")[:top] for log_p_V in log_p_QV]
            truth_Q = population.value_PA[biographies.plan.individual_B[row], attributes]
            tokens = slice(stop_B[place] - packing.length_B[place], stop_B[place])
            yield (
                row,
                Reading(
                    answer_QK=np.stack(answer_QK),
                    probability_QK=np.exp([p_V[best] for p_V, best in zip(log_p_QV, answer_QK, strict=True)]),
                    truth_Q=np.exp([p_V[truth] for p_V, truth in zip(log_p_QV, truth_Q, strict=True)]),
                    attention_LT=[attention_BQLT[place, q, :, : at + 1] for q, at in enumerate(at_Q)],
                    expert_T={layer: each_N[tokens] for layer, each_N in expert_N.items()},
                ),
            )
