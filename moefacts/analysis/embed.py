"""Drawings as a page holds them: all of a page enlarged by one factor, so that their fonts are of one size."""

import html
import re
from collections.abc import Sequence

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from moefacts.analysis.figures import Drawing
from moefacts.analysis.series import as_json

COLUMN = 960.0  # px; what a page is wide without its margins, see head.html
_MOST = 1.06  # two figures of the usual size beside each other
_LEAST = 0.75  # of its size, below which a figure scrolls and does not shrink
_PX = 4 / 3  # of a point
_SIZE = re.compile(r'\bwidth="([\d.]+)pt" height="[\d.]+pt"')


def common_factor(drawings: Sequence[Drawing]) -> float:
    """By how much the drawings of a page are enlarged: as much as the widest allows."""
    return min([_MOST, *(COLUMN / natural_width(drawing) for drawing in drawings)])


def natural_width(drawing: Drawing) -> float:
    """The width of a drawing in px, in which its fonts have the size that its style gives them."""
    found = _SIZE.search(drawing.svg)
    return COLUMN if found is None else float(found[1]) * _PX


def width(drawing: Drawing, factor: float) -> int:
    """The width of a drawing on a page in px."""
    return int(natural_width(drawing) * factor)


def embedded(drawing: Drawing, factor: float) -> Markup:
    """The drawing as inline SVG with the width that it has on a page, and its caption as its name."""
    size = width(drawing, factor)
    style = f"width:{size}px;min-width:{int(_LEAST * size)}px"
    shown = f'role="img" aria-label="{html.escape(drawing.caption)}" style="{style}"'
    if _SIZE.search(drawing.svg) is None:
        return Markup(drawing.svg.replace("<svg", f"<svg {shown}", 1))
    return Markup(_SIZE.sub(shown, drawing.svg, count=1))


def panels(drawing: Drawing) -> Markup:
    """The curves of a drawing as JSON that is data in any page."""
    return htmlsafe_json_dumps(as_json(drawing.panels), separators=(",", ":"))


def first_sentence(text: str) -> str:
    """The first sentence of a caption without its full stop, as the name of what it stands below."""
    return str(text).split(". ")[0].rstrip(".")
