"""The model between two training steps, as evaluations see it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from moefacts.models.routing_losses import LoadSums
from moefacts.training.evaluation import Evaluator, Measure


@dataclass(frozen=True)
class Moment:
    """The model between two steps, in evaluation mode.

    Attributes:
        step: the number of updates so far.
        is_last: whether training ends here.
        num_active: how many people an adaptive curriculum trains on; None for the other distributions.
        measure: applies an evaluator to the model, once: asked again, it returns the same.
        loads: returns the load of the routers' experts over an evaluator's biographies, by layer. It costs nothing
            beside ``measure``.
    """

    step: int
    is_last: bool
    num_active: int | None
    measure: Measure
    loads: Callable[[Evaluator], dict[int, LoadSums]]


class Evaluation(Protocol):
    """One thing that a run measures when it evaluates."""

    def __call__(self, moment: Moment) -> dict[str, float]:
        """Return metrics for the record, or an empty dictionary when they are not due."""
