"""Verdicts as a forest plot: for every claim its number and interval, drawn beside zero, each on a scale of its own."""

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moefacts.analysis.unit import PLAIN, Unit

_WIDTH, _HEIGHT, _MARGIN = 220, 36, 10
_ARROW = 14  # the room for an end that is not known
_BAND = 24  # the height of what is drawn, above the ends of the scale
_HOLDS, _DOES_NOT = "holds", "does not hold"
_LEADING = re.compile(r"[+−-]?[\d.,]+ \[[^]]*\]")  # the number of a verdict with its interval, if its text begins so
_WITHOUT = re.compile(r"[+−-]?[\d.,]+(?= \(no interval)")  # the same of a verdict whose number has none
_MINUS = re.compile(r"(?<![\w^-])-(?=[\d.∞])")


@dataclass(frozen=True)
class Row:
    """A claim as the page shows it: its effect as text, and a drawing of it, empty if there is no interval."""

    claim: Mapping[str, Any]
    effect: str
    svg: str


def forest(claims: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of the claims of a ``results.json``."""
    return [Row(claim, effect_text(claim), _drawing(claim)) for claim in claims]


def effect_text(claim: Mapping[str, Any]) -> str:
    """The number with its interval and unit, in the digits that it allows; without one, what the verdict shows."""
    shown, value, interval = str(claim["here"]), claim.get("value"), _ends_of(claim)
    leading = _LEADING.match(shown)
    if value is not None and interval is not None and leading:
        shown = unit_of(claim).text(float(value), interval) + shown[leading.end() :]
    elif value is not None and interval is None and (alone := _WITHOUT.match(shown)):
        unit = unit_of(claim)
        shown = f"{unit.value(float(value))} {unit.of}".rstrip() + shown[alone.end() :]
    return _MINUS.sub("−", shown)


def unit_of(claim: Mapping[str, Any]) -> Unit:
    """In what a claim's number is measured; results of earlier versions do not say it."""
    return Unit(**claim["unit"]) if claim.get("unit") else PLAIN


def _ends_of(claim: Mapping[str, Any]) -> tuple[float, float] | None:
    """The ends of a claim's interval, infinite where not known (``null`` in a file); None unless one is known."""
    found = claim.get("interval")
    if found is None:
        return None
    unknown = (-math.inf, math.inf)
    low, high = (
        side if end is None or math.isnan(end) else float(end) for end, side in zip(found, unknown, strict=True)
    )
    return None if math.isinf(low) and math.isinf(high) else (low, high)


def lead(claims: Sequence[Mapping[str, Any]]) -> str:
    """What was found, in one or two sentences: the first claim that was decided, and how many were."""
    counts = {verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in (_HOLDS, _DOES_NOT)}
    open_ones = len(claims) - sum(counts.values())
    found = next((claim for claim in claims if claim["verdict"] in counts), None)
    parts = [
        f"{number} {words[number != 1]}"
        for number, words in (
            (counts[_HOLDS], ("holds", "hold")),
            (counts[_DOES_NOT], ("does not hold", "do not hold")),
            (open_ones, ("cannot be told", "cannot be told")),
        )
        if number
    ]
    total = f"Of {len(claims)} claims, {_joined(parts)}." if len(claims) > 1 else ""
    if found is None:
        return total or "The claim cannot be told."
    return f"“{found['claim']}” {found['verdict']}: {effect_text(found)}. {total}".strip()


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _drawing(claim: Mapping[str, Any]) -> str:
    """An inline SVG of the interval, its middle, zero and the published value; empty without an interval.

    An end that is not known is an arrow at the edge of the drawing.
    """
    value, interval = claim.get("value"), _ends_of(claim)
    if value is None or not math.isfinite(value) or interval is None:
        return ""
    open_ends = [not math.isfinite(end) for end in interval]
    published = claim.get("published_value")
    drawn = [0.0, float(value), *(end for end in interval if math.isfinite(end))]
    drawn += [] if published is None else [float(published)]
    least, most = min(drawn), max(drawn)
    margins = [_MARGIN + _ARROW * is_open for is_open in open_ends]
    scale = (_WIDTH - sum(margins)) / ((most - least) or 1.0)

    def place(number: float) -> str:
        return f"{margins[0] + (number - least) * scale:.1f}"

    middle = _BAND / 2
    edges = (2, _WIDTH - 2)
    low, high = (
        str(edge) if is_open else place(end) for end, edge, is_open in zip(interval, edges, open_ends, strict=True)
    )
    unit = unit_of(claim)
    title = f"{claim['claim']}: {effect_text(claim)}, beside {unit.end(0.0, 1.0)}"
    marks = "".join(
        f'<path class="open" d="M{edge + inwards} {middle - 4} L{edge} {middle} L{edge + inwards} {middle + 4}" '
        'fill="none" stroke="currentColor" stroke-width="2"/>'
        for edge, inwards, is_open in zip(edges, (6, -6), open_ends, strict=True)
        if is_open
    )
    if published is not None:
        title += f" and the published {published:g}"
        marks += (
            f'<path d="M{place(float(published))} {middle - 6} l5 6 -5 6 -5 -6 z" fill="none" stroke="currentColor" '
            'stroke-width="1.5"/>'
        )
    return (
        f'<svg class="forest" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}">'
        f"<title>{html.escape(title)}</title>"
        f'<line x1="{place(0.0)}" x2="{place(0.0)}" y1="1" y2="{_BAND - 1}" stroke="currentColor" '
        'stroke-dasharray="3 3"/>'
        f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}" stroke="currentColor" stroke-width="2"/>'
        f'<circle cx="{place(float(value))}" cy="{middle}" r="4" fill="currentColor"/>'
        f"{marks}{_ends(least, most, place, unit)}</svg>"
    )


def _ends(least: float, most: float, place: Callable[[float], str], unit: Unit) -> str:
    """The numbers at the two ends of the scale, one of which is that of no effect where nothing lies beyond it."""
    return "".join(
        f'<text x="{place(number)}" y="{_HEIGHT - 2}" font-size="10" text-anchor="{anchor}" fill="currentColor">'
        f"{unit.end(number, most - least).replace('-', '−')}</text>"
        for number, anchor in ((least, "start"), (most, "end"))
    )
