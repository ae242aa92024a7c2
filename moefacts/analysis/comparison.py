"""Paired comparisons: whatever the two runs of a pair share (population size, seed, and so the data) cancels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moefacts.analysis.summary import Estimate, estimate


@dataclass(frozen=True)
class Paired:
    """A mean difference over ``count`` pairs with its 95% Student t interval; ``missing`` pairs lack a number."""

    mean: float
    interval: tuple[float, float] | None
    count: int
    missing: int


def paired_difference(
    ours: Mapping[Any, float | None],
    theirs: Mapping[Any, float | None],
    difference: Callable[[float, float], float] = lambda a, b: a - b,
) -> Paired | None:
    """Mean of ``difference(ours, theirs)`` over the keys that both have; None when no pair has both numbers.

    Args:
        ours: pair key, such as (size, seed) -> number; None where it was not reached.
        theirs: the numbers to compare with, under the same keys.
        difference: compares two numbers; by default it subtracts them.
    """
    pairs = [(ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys(), key=repr)]
    mean = estimate([None if a is None or b is None else difference(a, b) for a, b in pairs])
    if mean is None:
        return None
    return Paired(mean.mean, _interval(mean), mean.count, mean.missing)


def _interval(mean: Estimate) -> tuple[float, float] | None:
    return None if mean.low is None or mean.high is None else (mean.low, mean.high)
