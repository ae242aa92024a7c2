"""Measures of what a model knows: losses and confidences per biography and attribute (study, section 2).

Shape legend: B biographies, T positions, A attributes, N value tokens of a batch, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from moefacts.models.routing_losses import LoadSums
from moefacts.models.transformer import ModelOutput
from moefacts.runs import keys
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.biography import BiographyPlan
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.sampling import evaluation_plan
from moefacts.training.distributed import own_turns, total
from moefacts.training.pack import pack


@dataclass(frozen=True)
class ValueMeasures:
    """Measures of every biography and attribute, as float32 arrays of shape (B, A).

    All are teacher-forced: every token of a value is predicted after the true tokens before it, even where the model
    would have answered something else. (``probes.decisions`` scores all values without the true one's tokens.)

    Attributes:
        attribute_loss: cross entropy in nats, summed over the tokens of the value.
        attribute_accuracy: 1 when all tokens of the value are the argmax, else 0.
        max_probability: largest next-token probability, averaged over the tokens of the value.
        entropy: entropy in nats of the next-token distribution, averaged over the tokens of the value.
        value_confidence: product of the largest probabilities, the teacher-forced confidence in the whole value.
        abstained: 1 where the likeliest first token is an answer that is no value (``Batcher.abstentions``), else 0.
    """

    attribute_loss: np.ndarray
    attribute_accuracy: np.ndarray
    max_probability: np.ndarray
    entropy: np.ndarray
    value_confidence: np.ndarray
    abstained: np.ndarray


def sum_by_value(amount_N: Tensor, batch: Batch, at_N: Tensor) -> Tensor:
    """Sum an amount per value token over each value, to shape (B, A); ``at_N`` indexes the flattened targets."""
    cell_N = (at_N // batch.targets_BT.shape[1]) * len(ATTRIBUTES) + batch.attribute_BT[:, 1:].flatten()[at_N]
    sums = torch.zeros(len(batch.token_BT) * len(ATTRIBUTES), device=amount_N.device, dtype=amount_N.dtype)
    return sums.index_add_(0, cell_N, amount_N).view(-1, len(ATTRIBUTES))


def measure_batch(logits_NV: Tensor, batch: Batch, at_N: Tensor, abstention_ids: Sequence[int] = ()) -> ValueMeasures:
    """All measures of one batch from the logits that predict its value tokens.

    ``abstention_ids`` are the first tokens of the answers that are no value.
    """
    log_probability_NV = logits_NV.float().log_softmax(dim=-1)
    target_N = batch.targets_BT.flatten()[at_N]
    loss_N = -log_probability_NV.gather(1, target_N[:, None]).squeeze(1)
    largest_N, answer_N = log_probability_NV.max(dim=-1)
    entropy_N = -(log_probability_NV.exp() * log_probability_NV).sum(dim=-1)
    amounts = (loss_N, (answer_N != target_N).float(), largest_N, largest_N.exp(), entropy_N, torch.ones_like(loss_N))
    loss, num_wrong, log_confidence, probability, entropy, count = (
        sum_by_value(amount, batch, at_N).cpu().numpy() for amount in amounts
    )
    abstained = np.zeros_like(loss)
    if abstention_ids:
        is_first_N = batch.value_position_BT[:, 1:].flatten()[at_N] == 0
        says_N = torch.isin(answer_N, torch.tensor(abstention_ids, device=answer_N.device))
        abstained = sum_by_value((is_first_N & says_N).float(), batch, at_N).cpu().numpy()
    return ValueMeasures(
        attribute_loss=loss,
        attribute_accuracy=(num_wrong == 0).astype(np.float32),
        max_probability=probability / count,
        entropy=entropy / count,
        value_confidence=np.exp(log_confidence),
        abstained=abstained,
    )


class Biographies:
    """Biographies on the device, in batches of similar length.

    Attributes:
        plan: what they say.
        batches: rows of the plan, their batch, its value tokens as indices into the flattened targets, its packing.
    """

    def __init__(self, batcher: Batcher, plan: BiographyPlan, batch_size: int):
        self.plan = plan
        self.batches = []
        for rows, batch in batcher.batches_by_length(plan, batch_size):
            at_N = (batch.attribute_BT[:, 1:] >= 0).flatten().nonzero().squeeze(1)
            self.batches.append((rows, batch, at_N, pack(batch)))


class Evaluator(Biographies):
    """A fixed set of biographies of one cohort, or of its first people, in held-out templates and on the device."""

    def __init__(
        self, batcher: Batcher, cohort: str, num_biographies: int, batch_size: int, num_people: int | None = None
    ):
        super().__init__(batcher, evaluation_plan(batcher.population, cohort, num_biographies, num_people), batch_size)
        self.cohort = cohort
        self.batch_size = batch_size
        self.abstention_ids = [ids[0] for ids in batcher.tokenizer.encode([f" {one}" for one in batcher.abstentions])]

    def measure(
        self, model: Callable[..., ModelOutput], autocast: AbstractContextManager | None = None
    ) -> ValueMeasures:
        """Measure every biography, in the order of ``plan``. Processes divide the batches and share the results."""
        return self.measure_with_loads(model, autocast)[0]

    @torch.no_grad()
    def measure_with_loads(
        self, model: Callable[..., ModelOutput], autocast: AbstractContextManager | None = None
    ) -> tuple[ValueMeasures, dict[int, LoadSums]]:
        """Measure every biography, and how the routers treat their tokens.

        Returns:
            The measures, and the load of the routers' experts over all tokens of these biographies, by layer.
        """
        loads: dict[int, LoadSums] = {}
        columns = {
            field.name: np.zeros((len(self.plan), len(ATTRIBUTES)), np.float32) for field in fields(ValueMeasures)
        }
        for (rows, batch, at_N, packing), is_own in own_turns(self.batches):
            with autocast or nullcontext():
                output = model(batch.inputs_BT, packing, at_N)
                logits_NV = output.logits
            part = measure_batch(logits_NV, batch, at_N, self.abstention_ids)
            for name, column in columns.items() if is_own else ():
                column[rows] = getattr(part, name)
            for layer, routing in output.routings.items():
                sums = LoadSums.of(routing).combined(lambda amount, counts=is_own: amount * counts)
                loads[layer] = sums.combined(torch.add, loads[layer]) if layer in loads else sums
        values = {name: total(torch.from_numpy(column)).numpy() for name, column in columns.items()}
        return ValueMeasures(**values), {layer: sums.combined(total) for layer, sums in loads.items()}


Measure = Callable[[Evaluator], ValueMeasures]  # applies an evaluator to a model as it is now


def summarize(measures: ValueMeasures, cohort: str) -> dict[str, float]:
    """Metrics for the record: means over biographies, in total and per attribute, and two standard errors."""
    record: dict[str, float] = {}
    for name in keys.EVALUATED:
        value_BA = getattr(measures, name).astype(np.float64)
        record[keys.evaluation_key(cohort, name)] = float(value_BA.mean())
        for attribute, mean in zip(ATTRIBUTES, value_BA.mean(axis=0), strict=True):
            record[keys.evaluation_key(cohort, name, attribute)] = float(mean)
    for name, error in (
        (keys.ATTRIBUTE_LOSS, keys.LOSS_STANDARD_ERROR),
        (keys.ATTRIBUTE_ACCURACY, keys.ACCURACY_STANDARD_ERROR),
    ):
        mean_B = getattr(measures, name).astype(np.float64).mean(axis=1)
        standard_error = float(mean_B.std(ddof=1) / math.sqrt(len(mean_B))) if len(mean_B) > 1 else 0.0
        record[keys.evaluation_key(cohort, error)] = standard_error
    return record


def summarize_buckets(
    measures: ValueMeasures, individual_B: np.ndarray, buckets: dict[str, range], cohort: str
) -> dict[str, float]:
    """Attribute loss and accuracy of every bucket of people; buckets without an evaluated person are left out."""
    record: dict[str, float] = {}
    for bucket, people in buckets.items():
        inside_B = (individual_B >= people.start) & (individual_B < people.stop)
        if inside_B.any():
            for name in (keys.ATTRIBUTE_LOSS, keys.ATTRIBUTE_ACCURACY):
                mean = getattr(measures, name)[inside_B].mean(dtype=np.float64)
                record[keys.evaluation_key(cohort, name, bucket=bucket)] = float(mean)
    return record
