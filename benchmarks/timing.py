"""Interleaved timing: candidates run in turns, so that a noisy machine disturbs all of them alike."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles of a quantity measured once per round."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Summarise one or more values."""
        values = list(values)
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        return cls(statistics.median(values), low, high)

    def as_ratio(self) -> dict[str, float]:
        """For JSON."""
        return {"ratio": self.median, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Timing:
    """The seconds of one candidate, one value per round."""

    seconds: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Median and quartiles in seconds."""
        return Spread.of(self.seconds)

    def over(self, other: "Timing") -> Spread:
        """How many times as long as ``other`` this took, by quotients within rounds, where conditions are the same."""
        return Spread.of(mine / its for mine, its in zip(self.seconds, other.seconds, strict=True))

    def as_milliseconds(self) -> dict[str, float]:
        """For JSON."""
        return {f"{key}_ms": 1000 * value for key, value in asdict(self.spread).items()}


def clock() -> float:
    """A clock in seconds: wall time once the device is done, or, on a CPU, the computing time of this process.

    With one thread on an idle machine both are the same, but other processes disturb the second much less.
    """
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def time_side_by_side(candidates: dict[str, Callable[[], object]], rounds: int, warmup: int = 2) -> dict[str, Timing]:
    """Run every candidate once per round, in rotating order."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in range(warmup + rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = clock()
            candidates[name]()
            if number >= warmup:
                seconds[name].append(clock() - started)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def compare(comparisons: dict[str, dict[str, Callable[[], object]]], rounds: int) -> dict[str, dict[str, dict]]:
    """Time the candidates of every comparison side by side; ratios are over its first candidate."""
    result = {}
    for title, candidates in comparisons.items():
        timings = time_side_by_side(candidates, rounds)
        first = next(iter(timings.values()))
        result[title] = {
            name: timing.over(first).as_ratio() | timing.as_milliseconds() for name, timing in timings.items()
        }
    return result
