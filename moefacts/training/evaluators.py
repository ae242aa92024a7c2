"""The list of evaluations that a run makes between training steps. The loop knows none of them by name.

To record something else, write a class with the constructor of ``RoutingEvaluation`` and the call of ``Evaluation``,
put it into ``EVALUATIONS``, and put the name of what it records into ``runs.keys``.
"""

from collections.abc import Callable, Sequence

from moefacts.config.schema import RunConfig
from moefacts.runs import keys
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.balancing import summarize_loads
from moefacts.training.control import ControlEvaluation
from moefacts.training.curriculum import Curriculum
from moefacts.training.evaluation import Evaluator, summarize, summarize_buckets
from moefacts.training.moment import Evaluation, Moment


class CohortEvaluation:
    """Measures what the model knows about a cohort, in templates held out for each of its people.

    Args:
        evaluator: the cohort's biographies.
        interval: the cohort is measured at multiples of this step, and at the last; 1 means at every evaluation.
        also_at: further steps at which it is measured.
        buckets: name -> individuals whose loss and accuracy are recorded separately.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        interval: int = 1,
        also_at: Sequence[int] = (),
        buckets: dict[str, range] | None = None,
    ):
        self._evaluator = evaluator
        self._interval = interval
        self._also_at = also_at
        self._buckets = buckets or {}

    def __call__(self, moment: Moment) -> dict[str, float]:
        """Return losses, accuracies and confidences of the cohort, or nothing when they are not due."""
        if moment.step % self._interval and moment.step not in self._also_at and not moment.is_last:
            return {}
        cohort, measures = self._evaluator.cohort, moment.measure(self._evaluator)
        individual_B = self._evaluator.plan.individual_B
        return summarize(measures, cohort) | summarize_buckets(measures, individual_B, self._buckets, cohort)


class RoutingEvaluation:
    """Measures how the routers treat the biographies of the first evaluated cohort; of a dense model, nothing."""

    def __init__(self, config: RunConfig, batcher: Batcher, evaluators: dict[str, Evaluator]):
        self._evaluator = next(iter(evaluators.values()))

    def __call__(self, moment: Moment) -> dict[str, float]:
        """Return loads, violations and entropies by layer."""
        return summarize_loads(moment.loads(self._evaluator))


# Everything that a run records besides its cohorts and its curriculum. Each entry is called with the run's
# configuration, its batcher and the evaluators of its cohorts.
EVALUATIONS: list[Callable[[RunConfig, Batcher, dict[str, Evaluator]], Evaluation]] = [
    RoutingEvaluation,
    ControlEvaluation,
]


def cohort_evaluators(config: RunConfig, batcher: Batcher) -> dict[str, Evaluator]:
    """An evaluator for every cohort in ``evaluation.cohorts``, in that order."""
    evaluation = config.evaluation
    return {
        cohort: Evaluator(batcher, cohort, evaluation.biographies, evaluation.batch_size)
        for cohort in evaluation.cohorts
    }


def evaluations_of(
    config: RunConfig, batcher: Batcher, evaluators: dict[str, Evaluator], curriculum: Curriculum
) -> list[Evaluation]:
    """Everything that a run records when it evaluates; the first entry is the cohort whose plateau it follows."""
    main = config.evaluation.cohorts[0]
    others, also_at = config.evaluation.interval_unseen or 1, config.evaluation.also_at
    buckets = batcher.buckets() if main == config.sampling.cohort else {}
    cohorts = [
        CohortEvaluation(evaluator, 1, buckets=buckets)
        if cohort == main
        else CohortEvaluation(evaluator, others, also_at)
        for cohort, evaluator in evaluators.items()
    ]
    return [*cohorts, curriculum.measure, *(build(config, batcher, evaluators) for build in EVALUATIONS)]


def plateau_key(config: RunConfig, measure: str) -> str:
    """The metric key of a measure of the cohort whose plateau the run follows."""
    return keys.evaluation_key(config.evaluation.cohorts[0], measure)
