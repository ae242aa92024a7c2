"""The model between two training steps, as what is recorded of a run sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from moefacts.models.moe import Routing
from moefacts.synthetic_data.batches import Batch
from moefacts.training.evaluation import Measure


@dataclass(frozen=True)
class Moment:
    """The model between two steps, in evaluation mode.

    Attributes:
        step: how many updates it has had.
        is_last: whether training ends here.
        num_active: how many people an adaptive curriculum trains on; None for the other distributions.
        measure: what the model knows of the biographies of an evaluator; it is measured once.
        routings: what the routers of its mixtures decide for a batch, by layer.
    """

    step: int
    is_last: bool
    num_active: int | None
    measure: Measure
    routings: Callable[[Batch], dict[int, Routing]]


class Evaluation(Protocol):
    """One entry of the list."""

    def __call__(self, moment: Moment) -> dict[str, float]:
        """Metrics for the record; nothing when it is not time for them."""
