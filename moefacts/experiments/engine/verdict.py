"""The claims of a study, and verdicts on whether they hold. Every rule is written down before anything runs."""

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
        here: the finding as it stands in the table; for ``CANNOT_TELL`` also the reason.
        value: the number that decided, if there is one.
        interval: the 95% interval of ``value``.
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
        decide: the same rule in code; it takes the study's evidence.
    """

    text: str
    published: str
    rule: str
    decide: Callable[[Any], Verdict]


def cannot_tell(reason: str) -> Verdict:
    """The verdict when the evidence does not suffice, for the given reason."""
    return Verdict(CANNOT_TELL, reason)


def within(value: float, interval: Interval | None, low: float, high: float) -> Verdict:
    """Holds if the interval lies inside [low, high], does not hold if it lies outside, cannot tell otherwise."""
    if interval is None:
        return _undecided(value)
    return _decided(
        value, interval, low <= interval[0] and interval[1] <= high, interval[1] < low or interval[0] > high
    )


def above(value: float, interval: Interval | None, bound: float) -> Verdict:
    """Holds if the whole interval lies above ``bound``, does not hold if it lies below, cannot tell otherwise."""
    return (
        _undecided(value) if interval is None else _decided(value, interval, interval[0] > bound, interval[1] < bound)
    )


def below(value: float, interval: Interval | None, bound: float) -> Verdict:
    """Holds if the whole interval lies below ``bound``, does not hold if it lies above, cannot tell otherwise."""
    return (
        _undecided(value) if interval is None else _decided(value, interval, interval[1] < bound, interval[0] > bound)
    )


def _decided(value: float, interval: Interval, holds: bool, does_not_hold: bool) -> Verdict:
    answer = HOLDS if holds else DOES_NOT_HOLD if does_not_hold else CANNOT_TELL
    return Verdict(answer, f"{_number(value)} [{_number(interval[0])}, {_number(interval[1])}]", value, interval)


def _undecided(value: float) -> Verdict:
    return Verdict(CANNOT_TELL, f"{_number(value)} (no interval: too few seeds)", value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
