"""Paired comparisons: whatever the two runs of a pair share (population size, seed, and so the data) cancels.

An event that a run did not reach is censored: it came later than the last step, or never. To leave such pairs out would
favour whichever side is late. So every number may be a pair of bounds, and an interval covers all that they allow.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moefacts.analysis.summary import estimate

Bounds = tuple[float, float]
Value = float | Bounds | None


@dataclass(frozen=True)
class Paired:
    """A mean difference over pairs.

    Attributes:
        mean: the mean difference. A pair with one bound counts with that bound, one with two with their middle.
        interval: its 95% Student t interval; None with a single pair. With bounds it reaches from the low end for the
            lowest differences to the high end for the highest. It is infinite on a side where a pair has no bound.
        count: the number of pairs in the mean.
        missing: the number of pairs that lack a number.
        censored: the number of pairs of which only bounds are known; those without any bound are not in the mean.
    """

    mean: float
    interval: Bounds | None
    count: int
    missing: int
    censored: int = 0


def paired_difference(
    ours: Mapping[Any, Value],
    theirs: Mapping[Any, Value],
    difference: Callable[[float, float], float] = lambda a, b: a - b,
) -> Paired | None:
    """Mean of ``difference(ours, theirs)`` over the keys that both have; None when no pair has both numbers.

    Args:
        ours: pair key, such as (size, seed) -> number, or bounds of it, of which the second may be infinite; None where
            nothing is known.
        theirs: the numbers to compare with, under the same keys.
        difference: compares two numbers, rising with the first and falling with the second; by default it subtracts.
    """
    pairs = [(_bounds(ours[key]), _bounds(theirs[key])) for key in sorted(ours.keys() & theirs.keys(), key=repr)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    spans = [(difference(a[0], b[1]), difference(a[1], b[0])) for a, b in known]
    bounded = [
        (low if math.isfinite(low) else high, high if math.isfinite(high) else low)
        for low, high in spans
        if math.isfinite(low) or math.isfinite(high)
    ]
    mean, low, high = (estimate([side(pair) for pair in bounded]) for side in (_middle, min, max))
    if mean is None or low is None or high is None:
        return None
    interval = None
    if low.low is not None and high.high is not None:
        interval = (
            low.low if all(math.isfinite(one) for one, _ in spans) else -math.inf,
            high.high if all(math.isfinite(one) for _, one in spans) else math.inf,
        )
    censored = sum(one != other for one, other in spans)
    return Paired(mean.mean, interval, mean.count, len(pairs) - len(known), censored)


def _bounds(value: Value) -> Bounds | None:
    return value if value is None or isinstance(value, tuple) else (value, value)


def _middle(bounds: Bounds) -> float:
    return (bounds[0] + bounds[1]) / 2
