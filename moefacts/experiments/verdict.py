"""What a study claims, and whether it holds here. The rule is written down before anything runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HOLDS, DOES_NOT_HOLD, CANNOT_TELL = "holds", "does not hold", "cannot tell"
Interval = tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """The answer to a claim.

    Attributes:
        answer: ``HOLDS``, ``DOES_NOT_HOLD`` or ``CANNOT_TELL``.
        here: what was found, as it stands in the table; for "cannot tell" also why.
        value: the number that decided, when there is one.
        interval: its 95% interval.
    """

    answer: str
    here: str
    value: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True)
class Claim:
    """One claim of a study.

    Attributes:
        text: the claim.
        published: the published number, or "none published".
        rule: how it is decided, in words.
        decide: the same in code, from the study's findings.
    """

    text: str
    published: str
    rule: str
    decide: Callable[[Any], Verdict]


def cannot_tell(reason: str) -> Verdict:
    """There is not enough to go by."""
    return Verdict(CANNOT_TELL, reason)


def within(value: float, interval: Interval | None, low: float, high: float, unit: str = "") -> Verdict:
    """Holds when the interval lies inside [low, high], does not when it lies outside, else it cannot be told."""
    if interval is None:
        return Verdict(CANNOT_TELL, f"{_number(value)}{unit} (no interval: too few seeds)", value)
    if low <= interval[0] and interval[1] <= high:
        answer = HOLDS
    elif interval[1] < low or interval[0] > high:
        answer = DOES_NOT_HOLD
    else:
        answer = CANNOT_TELL
    return Verdict(answer, f"{_number(value)}{unit} [{_number(interval[0])}, {_number(interval[1])}]", value, interval)


def above(value: float, interval: Interval | None, bound: float, unit: str = "") -> Verdict:
    """Holds when the whole interval lies above ``bound``, does not when it lies below, else it cannot be told."""
    return within(value, interval, bound, float("inf"), unit)


def below(value: float, interval: Interval | None, bound: float, unit: str = "") -> Verdict:
    """Holds when the whole interval lies below ``bound``, does not when it lies above, else it cannot be told."""
    return within(value, interval, float("-inf"), bound, unit)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
