"""Evaluation on permuted values: the loss that is left to a model without its knowledge of persons."""

import math

import numpy as np

from moefacts.config.schema import RunConfig
from moefacts.runs import keys
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.control import with_permuted_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.evaluation import Evaluator, ValueMeasures
from moefacts.training.moment import Moment


def control_evaluator(batcher: Batcher, cohort: str, num_biographies: int, batch_size: int) -> Evaluator:
    """The biographies of ``Evaluator`` with these arguments, in the same order, with permuted values."""
    permuted = batcher.with_population(with_permuted_values(batcher.population, cohort))
    return Evaluator(permuted, cohort, num_biographies, batch_size)


class ControlEvaluation:
    """Measures the loss on the first evaluated cohort with permuted values, when ``interval_control`` says so.

    Knowledge is this control loss minus the loss on the true values, over the no-knowledge baseline.
    """

    def __init__(self, config: RunConfig, batcher: Batcher, evaluators: dict[str, Evaluator]):
        evaluation = config.evaluation
        self._interval = evaluation.interval_control
        self._true = evaluators[evaluation.cohorts[0]]
        if self._interval is not None:
            self._permuted = control_evaluator(
                batcher, self._true.cohort, evaluation.biographies, evaluation.batch_size
            )

    def __call__(self, moment: Moment) -> dict[str, float]:
        """Return the control loss in nats, or nothing when it is off or not due."""
        if self._interval is None or (moment.step % self._interval and not moment.is_last):
            return {}
        return summarize_control(moment.measure(self._permuted), moment.measure(self._true), self._true.cohort)


def summarize_control(permuted: ValueMeasures, true: ValueMeasures, cohort: str) -> dict[str, float]:
    """Metrics for the record: the control loss in total and per attribute, and the standard error of the difference.

    Args:
        permuted: measures of the biographies with permuted values.
        true: measures of the same biographies with the people's own values.
        cohort: the cohort that they are about.
    """
    loss_BA = permuted.attribute_loss.astype(np.float64)
    record = {keys.evaluation_key(cohort, keys.CONTROL_LOSS): float(loss_BA.mean())}
    for attribute, mean in zip(ATTRIBUTES, loss_BA.mean(axis=0), strict=True):
        record[keys.evaluation_key(cohort, keys.CONTROL_LOSS, attribute)] = float(mean)
    difference_B = (loss_BA - true.attribute_loss).mean(axis=1)
    error = float(difference_B.std(ddof=1) / math.sqrt(len(difference_B)))
    return record | {keys.evaluation_key(cohort, keys.CONTROL_DIFFERENCE_STANDARD_ERROR): error}
