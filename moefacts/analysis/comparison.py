"""Paired comparisons: whatever the two runs of a pair share (population size, seed, and so the data) cancels.

Pairs of runs with the same seed are not independent, even where they differ in size or in another setting: they share
people, initial weights and the order of samples. They are one cluster, and an interval is one over clusters.

An event that a run did not reach is censored: it came later than the last step, or never. To leave such pairs out would
favour whichever side is late. So every number may be a pair of bounds, and an interval covers all that they allow.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moefacts.analysis.summary import SHOWN_WITH_INTERVAL, estimate
from moefacts.analysis.unit import PLAIN, Unit

Bounds = tuple[float, float]
Value = float | Bounds | None


@dataclass(frozen=True)
class Paired:
    """A mean difference over pairs.

    Attributes:
        mean: the mean over clusters of the mean difference of their pairs. A pair with one bound counts with that
            bound, one with two with their middle.
        interval: its 95% Student t interval; None with a single cluster. With bounds it reaches from the low end for
            the lowest differences to the high end for the highest. It is infinite on a side where a pair has no bound.
        count: the number of pairs in the mean.
        missing: the number of pairs that lack a number.
        censored: the number of pairs of which only bounds are known; those without any bound are not in the mean.
        values: the mean difference of every cluster.
    """

    mean: float
    interval: Bounds | None
    count: int
    missing: int
    censored: int = 0
    values: tuple[float, ...] = ()

    @property
    def clusters(self) -> int | None:
        """The number of different seeds in the mean; None if every pair has its own."""
        return len(self.values) if 0 < len(self.values) < self.count else None

    def text(self, unit: Unit = PLAIN) -> str:
        """The difference as a table cell; below three clusters without an interval, as in ``Estimate.text``."""
        if self.interval is None or len(self.values) < SHOWN_WITH_INTERVAL:
            text = ", ".join(unit.value(value) for value in self.values)
        else:
            text = unit.text(self.mean, self.interval)
        text += f" ({self.censored} within bounds)" if self.censored else ""
        return text + (f" (missing in {self.missing} more)" if self.missing else "")


def paired_difference(
    ours: Mapping[Any, Value],
    theirs: Mapping[Any, Value],
    difference: Callable[[float, float], float] = lambda a, b: a - b,
) -> Paired | None:
    """Mean of ``difference(ours, theirs)`` over the keys that both have; None when no pair does.

    Args:
        ours: pair key, such as (size, seed), of which the last item is the seed -> number, or bounds of it, of which
            the second may be infinite; None where nothing is known.
        theirs: the numbers to compare with, under the same keys.
        difference: compares two numbers, rising with the first and falling with the second; by default it subtracts.
    """
    keys = sorted(ours.keys() & theirs.keys(), key=repr)
    pairs = [(key, _bounds(ours[key]), _bounds(theirs[key])) for key in keys]
    spans = [
        (key, difference(a[0], b[1]), difference(a[1], b[0])) for key, a, b in pairs if a is not None and b is not None
    ]
    clusters: dict[Any, list[Bounds]] = {}
    for key, low, high in spans:
        if math.isfinite(low) or math.isfinite(high):
            finite = (low if math.isfinite(low) else high, high if math.isfinite(high) else low)
            clusters.setdefault(key[-1] if isinstance(key, tuple) else key, []).append(finite)
    mean, lowest, highest = (
        estimate([sum(side(span) for span in members) / len(members) for members in clusters.values()])
        for side in (_middle, min, max)
    )
    if mean is None or lowest is None or highest is None:
        return None
    interval = None
    if lowest.low is not None and highest.high is not None:
        interval = (
            lowest.low if all(math.isfinite(low) for _, low, _ in spans) else -math.inf,
            highest.high if all(math.isfinite(high) for _, _, high in spans) else math.inf,
        )
    return Paired(
        mean=mean.mean,
        interval=interval,
        count=sum(map(len, clusters.values())),
        missing=len(pairs) - len(spans),
        censored=sum(low != high for _, low, high in spans),
        values=mean.values,
    )


def _bounds(value: Value) -> Bounds | None:
    return value if value is None or isinstance(value, tuple) else (value, value)


def _middle(bounds: Bounds) -> float:
    return (bounds[0] + bounds[1]) / 2
