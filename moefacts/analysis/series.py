"""The numbers behind a figure whose curves run over training steps, read from the curves as they are drawn."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

STEP = "training step"
MOST_POINTS = 500  # of a curve; one with more keeps as many of its points, evenly chosen, the last among them
_DIGITS = 5


@dataclass(frozen=True)
class Series:
    """One curve: its label, colour, dashes and points. ``is_seed`` is a thin line, a single run beside the mean."""

    label: str
    color: str
    dash: str
    is_seed: bool
    steps: list[float]
    values: list[float | None]


@dataclass(frozen=True)
class Panel:
    """The curves of one panel, with what its vertical axis shows, whether that is logarithmic, and its limits."""

    title: str
    is_log: bool
    limits: tuple[float, float]
    series: list[Series]


def panels_over_steps(figure: Figure) -> list[Panel]:
    """The panels of ``figure`` that have curves over training steps; none if it shows anything else.

    A curve without a label of its own is a seed of the next one that has one, or else of what the axis shows.
    """
    shown = [axes for axes in figure.axes if axes.lines]
    if not any(axes.get_xlabel() == STEP for axes in shown):
        return []
    found = []
    for axes in shown:
        over_steps = axes.get_xlabel() == STEP or any(one.get_xlabel() == STEP for one in _beside(axes, shown))
        if over_steps and (series := _series(axes)):
            low, high = axes.get_ylim()
            is_log = axes.get_yscale() == "log"
            low = _round_below(low) if is_log else low
            name = axes.get_ylabel() or next((one.get_ylabel() for one in shown if one.get_ylabel()), "")
            title = " ".join(part for part in (name, axes.get_title().replace("\n", " ")) if part)
            found.append(Panel(title, is_log, (float(low), float(high)), series))
    return found


def as_json(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """The panels as JSON values."""
    return [asdict(panel) for panel in panels]


def _beside(axes: Axes, shown: Sequence[Axes]) -> list[Axes]:
    return [one for one in shown if axes.get_shared_x_axes().joined(axes, one)]


def _series(axes: Axes) -> list[Series]:
    found: list[Series] = []
    waiting: list[Line2D] = []
    levels: list[Line2D] = []
    for line in axes.lines:
        label = str(line.get_label())
        if _is_level(line, axes):
            if not label.startswith("_"):
                levels.append(line)
            continue
        if not np.size(line.get_xdata()):
            continue
        if label.startswith("_") and line.get_linewidth() < 1:
            waiting.append(line)
            continue
        label = axes.get_ylabel() if label.startswith("_") else label
        found += [_of(seed, f"{label}, run {number}", True) for number, seed in enumerate(waiting, 1)]
        found.append(_of(line, label, False))
        waiting = []
    found += [_of(line, f"{axes.get_ylabel()}, run {number}", True) for number, line in enumerate(waiting, 1)]
    steps = sorted({step for one in found for step in one.steps})
    return found + [_level_at(steps, line) for line in levels if steps]


def _level_at(steps: list[float], line: Line2D) -> Series:
    """A horizontal line as a series, with its value at each of ``steps``, so that pointing at any of them shows it."""
    level = _of(line, str(line.get_label()), False)
    return replace(level, steps=steps, values=level.values[:1] * len(steps))


def _round_below(value: float) -> float:
    """``value`` rounded down to one digit: a chart labels its logarithmic axis in whole steps from the lower limit."""
    power = math.floor(math.log10(value))
    return float(f"{math.floor(value / 10.0**power + 1e-9)}e{power}")


def _is_level(line: Line2D, axes: Axes) -> bool:
    """Whether it is a horizontal line over the whole width, such as the baseline."""
    return line.get_transform() != axes.transData


def _of(line: Line2D, label: str, is_seed: bool) -> Series:
    steps, values = (np.asarray(data, dtype=float) for data in (line.get_xdata(), line.get_ydata()))
    if len(steps) > MOST_POINTS:
        kept = np.unique(np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int))
        steps, values = steps[kept], values[kept]
    return Series(
        label,
        to_hex(line.get_color()),
        str(line.get_linestyle()),
        is_seed,
        [float(f"{step:.10g}") for step in steps],
        [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()],
    )
