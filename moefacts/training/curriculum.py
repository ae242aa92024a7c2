"""The adaptive curriculum: train on some people until their plateau is over, then on more. Not in the study."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from moefacts.config import RunConfig
from moefacts.models.transformer import ModelOutput
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.evaluation import Evaluator

ACTIVE_LOSS = "eval/active/attribute_loss"


class Curriculum:
    """Says how many people are trained on, and when it is time for more; does nothing for the other distributions.

    The loss that decides is that of the active people alone, over ``evaluation.biographies`` biographies in held-out
    templates. They are evaluated on their own, because the active rows of the evaluation of everybody would be too
    few: with 256, the error of the loss is as large as the 1% that tells plateau from knowledge. That costs half as
    much again as the evaluation of seen and unseen people, and only until everybody is active.
    """

    def __init__(self, config: RunConfig, batcher: Batcher):
        self._evaluation = config.evaluation
        self._batcher = batcher
        self._num_people = len(batcher.population.cohort("seen"))
        self._ready_below = config.evaluation.plateau_threshold * batcher.population.no_knowledge_baseline
        self._evaluators: dict[int, Evaluator] = {}  # only ever the newest

    def num_active(self, widening_steps: list[int]) -> int | None:
        """How many people are trained on after the widenings at those steps; None unless the curriculum is adaptive."""
        distribution = self._batcher.distribution
        return None if distribution is None else distribution.num_active(len(widening_steps))

    def measure(
        self, num_active: int | None, model: Callable[..., ModelOutput], autocast: AbstractContextManager
    ) -> dict[str, float]:
        """Metrics for the record: how many people were active until now and, while it is not everybody, their loss."""
        if num_active is None:
            return {}
        record: dict[str, float] = {"curriculum/active_individuals": num_active}
        if num_active == self._num_people:
            return record
        measures = self._evaluator(num_active).measure(model, autocast)
        accuracy = float(measures.attribute_accuracy.mean(dtype="float64"))
        record[ACTIVE_LOSS] = float(measures.attribute_loss.mean(dtype="float64"))
        return record | {"eval/active/attribute_accuracy": accuracy}

    def is_ready(self, record: dict[str, float]) -> bool:
        """Whether the record of an evaluation says that the plateau of the active people is over."""
        return ACTIVE_LOSS in record and record[ACTIVE_LOSS] < self._ready_below

    def _evaluator(self, num_active: int) -> Evaluator:
        if num_active not in self._evaluators:
            size, batch_size = self._evaluation.biographies, self._evaluation.batch_size
            self._evaluators = {num_active: Evaluator(self._batcher, "seen", size, batch_size, num_active)}
        return self._evaluators[num_active]
