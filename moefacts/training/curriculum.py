"""The adaptive curriculum: train on some people until their plateau is over, then on more. It is not in the study."""

from moefacts.config.schema import RunConfig
from moefacts.runs import keys
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.evaluation import Evaluator
from moefacts.training.moment import Moment

_LOSS = keys.evaluation_key(keys.ACTIVE, keys.ATTRIBUTE_LOSS)
_ACCURACY = keys.evaluation_key(keys.ACTIVE, keys.ATTRIBUTE_ACCURACY)


class Curriculum:
    """Decides how many people are trained on and when to add more; does nothing for the other distributions.

    The loss that decides is that of the active people alone, over ``evaluation.biographies`` biographies in held-out
    templates. They are evaluated separately, because too few rows of the evaluation of everybody are active: with 256,
    the error of the loss is as large as the 1% that separates plateau from knowledge. This makes evaluations half as
    expensive again, but only until everybody is active.
    """

    def __init__(self, config: RunConfig, batcher: Batcher):
        self._evaluation = config.evaluation
        self._batcher = batcher
        self._num_people = len(batcher.population.cohort(batcher.cohort))
        self._ready_below = config.evaluation.plateau_threshold * batcher.population.no_knowledge_baseline
        self._evaluators: dict[int, Evaluator] = {}  # holds only the newest

    def num_active(self, widening_steps: list[int]) -> int | None:
        """The number of people trained on after the widenings at these steps; None for other distributions."""
        distribution = self._batcher.distribution
        return None if distribution is None else distribution.num_active(len(widening_steps))

    def measure(self, moment: Moment) -> dict[str, float]:
        """Metrics for the record: the number of active people and, until everybody is active, their loss."""
        if moment.num_active is None:
            return {}
        record: dict[str, float] = {keys.ACTIVE_INDIVIDUALS: moment.num_active}
        if moment.num_active == self._num_people:
            return record
        measures = moment.measure(self._evaluator(moment.num_active))
        record[_LOSS] = float(measures.attribute_loss.mean(dtype="float64"))
        return record | {_ACCURACY: float(measures.attribute_accuracy.mean(dtype="float64"))}

    def is_ready(self, record: dict[str, float]) -> bool:
        """Whether an evaluation's record says that the plateau of the active people is over."""
        return _LOSS in record and record[_LOSS] < self._ready_below

    def _evaluator(self, num_active: int) -> Evaluator:
        if num_active not in self._evaluators:
            batcher, config = self._batcher, self._evaluation
            evaluator = Evaluator(batcher, batcher.cohort, config.biographies, config.batch_size, num_active)
            self._evaluators = {num_active: evaluator}
        return self._evaluators[num_active]
