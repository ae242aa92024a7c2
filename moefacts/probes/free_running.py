"""The confidence in a whole value that the model generates itself, token by token, instead of being shown the true one.

Shape legend: B biographies, A attributes, L tokens of a value, N value tokens of a batch, T positions, C values whose
next token is asked for.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moefacts.synthetic_data.batches import Batch
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.distributed import own_turns, total
from moefacts.training.evaluation import Evaluator
from moefacts.training.moment import Logits
from moefacts.training.next_token import next_token_logits


@dataclass(frozen=True)
class _Values:
    """The values of an evaluator's biographies, and what the model answers, on the host.

    Attributes:
        text_BT: the tokens of the biographies.
        start_BA: the position of each value's first token.
        truth_BAL: the true tokens; -1 after the end of a value.
        answer_BAL: the tokens that the model finds likeliest; -1 after the end of a value.
        log_probability_BAL: the logarithms of their probabilities; 0 after the end of a value.
    """

    text_BT: np.ndarray
    start_BA: np.ndarray
    truth_BAL: np.ndarray
    answer_BAL: np.ndarray
    log_probability_BAL: np.ndarray


@torch.no_grad()
def free_running_confidence(logits: Logits, evaluator: Evaluator) -> np.ndarray:
    """The model's confidence in each whole value when it generates the value greedily itself.

    Before the value stands the true text, with the true values of the other attributes. From there the model goes on
    from its own tokens, and the confidence is the product of their probabilities. It generates as many tokens as the
    true value has. So the generated value is right if all of these tokens are those of the true value; a longer or
    shorter value differs from the true one in at least one of them, unless one value begins with the other.

    Greedy generation takes the true path exactly as long as every teacher-forced first choice is right. So whether it
    ends at the true value is ``attribute_accuracy``, and the confidences differ only where a token before the value's
    last is wrong. Only such values need further forward passes. (Mixtures with a limited capacity and those whose
    experts choose tokens are not causal: there, the tokens before the first wrong one are those of the teacher-forced
    pass.) Every process of a run must call this.

    Args:
        logits: applies the model in evaluation mode.
        evaluator: the biographies; its batch size is that of the further passes, too.

    Returns:
        Confidences between 0 and 1, shape (B, A), float32.
    """
    values = _teacher_forced(logits, evaluator)
    device = evaluator.batches[0][1].token_BT.device
    for length in range(1, values.truth_BAL.shape[2]):
        has_left_BA = (values.answer_BAL != values.truth_BAL)[:, :, :length].any(axis=2)
        row_C, attribute_C = np.nonzero(has_left_BA & (values.truth_BAL[:, :, length] >= 0))
        shortest_first = values.start_BA[row_C, attribute_C].argsort(kind="stable")
        parts = [
            (row_C[chosen], attribute_C[chosen])
            for chosen in np.split(shortest_first, range(evaluator.batch_size, len(row_C), evaluator.batch_size))
            if len(chosen)
        ]
        log_probability_BA = np.zeros(has_left_BA.shape, np.float32)
        answer_BA = np.zeros(has_left_BA.shape, np.int64)
        for part, is_own in own_turns(parts):
            prompts = [
                [*values.text_BT[row, : values.start_BA[row, attribute]], *values.answer_BAL[row, attribute, :length]]
                for row, attribute in zip(*part, strict=True)
            ]
            largest_C, token_C = _first_choice(next_token_logits(logits, prompts, device))
            if is_own:
                log_probability_BA[part], answer_BA[part] = largest_C, token_C
        asked = (row_C, attribute_C)
        values.log_probability_BAL[(*asked, length)] = _shared(log_probability_BA)[asked]
        values.answer_BAL[(*asked, length)] = _shared(answer_BA)[asked]
    return np.exp(values.log_probability_BAL.sum(axis=2))


def _teacher_forced(logits: Logits, evaluator: Evaluator) -> _Values:
    """The first choices for every value token after the true text."""
    length = max(int(batch.value_position_BT.max()) for _, batch, _, _ in evaluator.batches) + 1
    width = max(batch.token_BT.shape[1] for _, batch, _, _ in evaluator.batches)
    shape = (len(evaluator.plan), len(ATTRIBUTES))
    text_BT = np.zeros((len(evaluator.plan), width), np.int64)
    start_BA = np.zeros(shape, np.int64)
    truth_BAL = np.full((*shape, length), -1)
    for rows, batch, at_N, _ in evaluator.batches:
        text_BT[rows, : batch.token_BT.shape[1]] = batch.token_BT.cpu().numpy()
        row_N, attribute_N, place_N = _cells(rows, batch, at_N)
        truth_BAL[row_N, attribute_N, place_N] = batch.targets_BT.flatten()[at_N].cpu().numpy()
        start_BA[row_N, attribute_N] = at_N.cpu().numpy() % batch.targets_BT.shape[1] + 1 - place_N
    answer_BAL, log_probability_BAL = np.zeros_like(truth_BAL), np.zeros(truth_BAL.shape, np.float32)
    for (rows, batch, at_N, packing), is_own in own_turns(evaluator.batches):
        largest_N, token_N = _first_choice(logits(batch.inputs_BT, packing, at_N))
        if is_own:
            cell_N = _cells(rows, batch, at_N)
            log_probability_BAL[cell_N], answer_BAL[cell_N] = largest_N, token_N
    answer_BAL = np.where(truth_BAL < 0, -1, _shared(answer_BAL))
    return _Values(text_BT, start_BA, truth_BAL, answer_BAL, _shared(log_probability_BAL))


def _cells(rows: np.ndarray, batch: Batch, at_N: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The biography, the attribute and the place in the value of every value token of a batch."""
    row_N = rows[at_N.cpu().numpy() // batch.targets_BT.shape[1]]
    fields = (batch.attribute_BT, batch.value_position_BT)
    attribute_N, place_N = (field[:, 1:].flatten()[at_N].cpu().numpy() for field in fields)
    return row_N, attribute_N, place_N


def _first_choice(logits_NV: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The largest log probability of every row, and its token."""
    largest_N, token_N = logits_NV.float().log_softmax(dim=-1).max(dim=-1)
    return largest_N.cpu().numpy(), token_N.cpu().numpy()


def _shared(own: np.ndarray) -> np.ndarray:
    return total(torch.from_numpy(own)).numpy()
