"""In what the number of a verdict is measured, and the number with its interval in words of that kind."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

RATIO, POINTS, SHARE, NUMBER = "ratio", "points", "share", "number"
_AFTER = {POINTS: " points", SHARE: "%"}
_SCALE: dict[str, Callable[[float], float]] = {
    RATIO: lambda value: math.exp(min(value, 700.0)),
    POINTS: lambda value: 100 * value,
    SHARE: lambda value: 100 * value,
    NUMBER: lambda value: value,
}


@dataclass(frozen=True)
class Unit:
    """In what a number is measured.

    Attributes:
        kind: ``RATIO`` (the number is the natural logarithm of a ratio, and reads ×1.25), ``POINTS`` (a difference of
            shares, which reads +25 points), ``SHARE`` (25%) or ``NUMBER``.
        of: of what, as words that follow the number: "the steps until the plateau ends".
    """

    kind: str
    of: str

    def __post_init__(self) -> None:
        if self.kind not in _SCALE:
            raise ValueError(f"kind is {self.kind!r}; it is one of {', '.join(_SCALE)}")

    def value(self, value: float) -> str:
        """A number without an interval, in three significant digits; one that is infinite is ∞."""
        if math.isinf(value):
            return _open_end(self.kind, value)
        shown = _SCALE[self.kind](value)
        text = f"{shown:,.0f}" if abs(shown) >= 1000 else f"{shown:.3g}"
        return f"{'×' * (self.kind == RATIO)}{text}{_AFTER.get(self.kind, '')}"

    def text(self, value: float, interval: Sequence[float]) -> str:
        """A number with its interval, in the digits that the interval allows; an end that is infinite is ∞."""
        shown, low, high = (_SCALE[self.kind](one) for one in (value, *interval))
        known = [end for end, raw in ((low, interval[0]), (high, interval[1])) if math.isfinite(raw)]
        half = (high - low) / 2 if len(known) == 2 else abs(shown - known[0]) if known else 0.0
        digits = digits_of(half)
        sign = "+" if self.kind == POINTS and value > 0 else ""
        ends = ", ".join(
            f"{end:,.{digits}f}" if math.isfinite(raw) else _open_end(self.kind, raw)
            for end, raw in ((low, interval[0]), (high, interval[1]))
        )
        before, after = "×" * (self.kind == RATIO), _AFTER.get(self.kind, "")
        return f"{before}{sign}{shown:,.{digits}f}{after} [{ends}]{f' {self.of}' if self.of else ''}"

    def end(self, value: float, digits_for: float) -> str:
        """A number at an end of a drawn scale; ``digits_for`` is the width of what is drawn there."""
        shown = _SCALE[self.kind](value)
        if self.kind == RATIO:
            return f"×{shown:.{digits_of(shown * min(digits_for, 1.0))}f}" if value else "×1"
        digits = digits_of(_SCALE[self.kind](digits_for))
        return f"{shown:,.{digits}f}{'%' * (self.kind == SHARE)}" if value else "0"


def digits_of(half: float) -> int:
    """How many decimals show two significant digits of half an interval."""
    return 3 if half <= 0 or not math.isfinite(half) else max(0, 1 - math.floor(math.log10(half)))


def _open_end(kind: str, raw: float) -> str:
    return "∞" if raw > 0 else "0" if kind == RATIO else "-∞"


PLAIN = Unit(NUMBER, "")
