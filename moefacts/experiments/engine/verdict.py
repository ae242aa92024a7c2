"""The claims of a study, and verdicts on whether they hold. Every rule is written down before anything runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scipy import stats

from moefacts.analysis.unit import PLAIN, Unit

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
        p_value: the two-sided p-value of ``value`` equalling the bound that its interval is compared with (the nearer
            of two); None for rules of another kind.
    """

    answer: str
    here: str
    value: float | None = None
    interval: Interval | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Claim:
    """One claim of a study.

    Attributes:
        text: the claim.
        published: the published number, or "none published".
        rule: how it is decided, in words.
        decide: the same rule in code; it takes the study's evidence.
        published_value: the published number where it is the same quantity as the verdict's ``value``; pages draw it.
        unit: in what the verdict's ``value`` is measured, where it has one.
    """

    text: str
    published: str
    rule: str
    decide: Callable[[Any], Verdict]
    published_value: float | None = None
    unit: Unit | None = None


def cannot_tell(reason: str) -> Verdict:
    """The verdict when the evidence does not suffice, for the given reason."""
    return Verdict(CANNOT_TELL, reason)


def within(value: float, interval: Interval | None, low: float, high: float, count: int | None = None) -> Verdict:
    """Holds if the interval lies inside [low, high], does not hold if it lies outside, cannot tell otherwise.

    Args:
        value: the number that decides; if it is a mean over ``count`` numbers, the verdict has a p-value.
        interval: its 95% interval; None if there are too few numbers for one.
        low: the lower bound, which counts as inside; it may be -inf.
        high: the upper bound, which counts as inside; it may be inf.
        count: how many numbers ``value`` is the mean of and ``interval`` the Student t interval of.
    """
    if interval is None:
        return _undecided(value)
    holds = low <= interval[0] and interval[1] <= high
    does_not_hold = interval[1] < low or interval[0] > high
    return _decided(value, interval, holds, does_not_hold, min(low, high, key=lambda bound: abs(value - bound)), count)


def above(value: float, interval: Interval | None, bound: float, count: int | None = None) -> Verdict:
    """Holds if the whole interval lies above ``bound``, does not hold if it lies below, cannot tell otherwise."""
    if interval is None:
        return _undecided(value)
    return _decided(value, interval, interval[0] > bound, interval[1] < bound, bound, count)


def below(value: float, interval: Interval | None, bound: float, count: int | None = None) -> Verdict:
    """Holds if the whole interval lies below ``bound``, does not hold if it lies above, cannot tell otherwise."""
    if interval is None:
        return _undecided(value)
    return _decided(value, interval, interval[1] < bound, interval[0] > bound, bound, count)


def p_value_of(value: float, interval: Interval, bound: float, count: int) -> float:
    """Two-sided p-value of a mean over ``count`` numbers equalling ``bound``, from its 95% Student t interval.

    It is below 0.05 exactly when the bound lies outside the interval.
    """
    standard_error = (interval[1] - interval[0]) / 2 / stats.t.ppf(0.975, count - 1)
    if standard_error == 0:
        return float(value == bound)
    return float(2 * stats.t.sf(abs(value - bound) / standard_error, count - 1))


def number_and_interval(value: float, interval: Interval) -> str:
    """A number with its interval, as they stand in the table."""
    return f"{PLAIN.value(value)} [{PLAIN.value(interval[0])}, {PLAIN.value(interval[1])}]"


def _decided(
    value: float, interval: Interval, holds: bool, does_not_hold: bool, bound: float, count: int | None
) -> Verdict:
    answer = HOLDS if holds else DOES_NOT_HOLD if does_not_hold else CANNOT_TELL
    p_value = None if count is None else p_value_of(value, interval, bound, count)
    return Verdict(answer, number_and_interval(value, interval), value, interval, p_value)


def _undecided(value: float) -> Verdict:
    return Verdict(CANNOT_TELL, f"{PLAIN.value(value)} (no interval: too few seeds)", value)
