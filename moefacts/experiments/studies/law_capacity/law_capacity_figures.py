"""Figures of law-capacity. Every arm has a colour and a marker of its own."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from moefacts.analysis.curves import color_of, marker_of
from moefacts.experiments.studies.law_capacity.collapse import rising_curve
from moefacts.experiments.studies.law_capacity.grid import ARMS
from moefacts.experiments.studies.law_capacity.points import Evidence, Step

_GREY = "#999999"
_PANEL = (3.7, 3.1)  # inches, without the legend
_LEGEND_ROW = 0.17


def exponents_figure(evidence: Evidence) -> Figure:
    """Draw the exponents between neighbouring sizes against bits per total and per active parameter."""
    figure, (left, right) = _panels(evidence)
    _exponents(left, evidence, lambda step: step.log_bits)
    _exponents(right, evidence, lambda step: step.log_bits_active)
    left.set_xlabel("facts (bits per total parameter)")
    left.set_ylabel("exponent between neighbouring sizes")
    right.set_xlabel("facts (bits per active parameter)")
    right.sharey(left)
    return _with_legend(figure, left)


def encounters_figure(evidence: Evidence) -> Figure:
    """Draw the biographies per person until the plateau ends, and the exponent, against people."""
    figure, (left, right) = _panels(evidence)
    for arm in evidence.arms:
        line, style = [point for point in evidence.of(arm) if point.at.ends], _style(arm)
        for point in line:
            met = [end / point.revisit for end in point.at.ends]
            left.plot([point.size] * len(met), met, ".", color=style["color"], markersize=3, alpha=0.6)
        means = [np.exp(point.log_end) / point.revisit for point in line]
        left.plot([point.size for point in line], means, label=arm, linewidth=1, **style)
    sizes = sorted({point.size for point in evidence.points})
    _log_axes(left, sizes)
    left.set_xlabel("people")
    left.set_ylabel("biographies per person")
    _exponents(right, evidence, lambda step: np.log(step.low.size * step.high.size) / 2, curve=False)
    right.set_xlabel("people, halfway between the two sizes")
    right.set_ylabel("exponent between neighbouring sizes")
    return _with_legend(figure, left)


def _exponents(axes: Axes, evidence: Evidence, log_x: Callable[[Step], float], curve: bool = True) -> None:
    """Draw exponents with 95% intervals, and the nearest curve that never falls."""
    axes.axhline(1, color="black", linestyle=":", linewidth=0.9)
    for arm in evidence.arms:
        line = [step for step in evidence.steps if step.low.arm == arm]
        halves = [evidence.exponent_half(step) for step in line]
        y_error = [half if np.isfinite(half) else 0.0 for half in halves]
        x, y = np.exp([log_x(step) for step in line]), [step.exponent for step in line]
        axes.errorbar(x, y, y_error, label=arm, linewidth=0.8, elinewidth=0.6, **_style(arm))
    if curve and len(evidence.steps) > 1:
        places, exponents = ([of(step) for step in evidence.steps] for of in (log_x, lambda step: step.exponent))
        log_places, heights = rising_curve(np.array(places), np.array(exponents))
        axes.plot(
            np.exp(log_places), heights, color=_GREY, linewidth=3, alpha=0.5, zorder=1, label="nearest rising curve"
        )
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.grid(axis="y")


def _style(arm: str) -> dict:
    place = [one.name for one in ARMS].index(arm)
    return {"color": color_of(place), "marker": marker_of(place), "markersize": 4.5}


def _panels(evidence: Evidence) -> tuple[Figure, tuple[Axes, Axes]]:
    rows = -(-(len(evidence.arms) + 1) // 3)
    figure, axes = plt.subplots(1, 2, figsize=(2 * _PANEL[0], _PANEL[1] + _LEGEND_ROW * rows))
    return figure, tuple(axes)


def _with_legend(figure: Figure, axes: Axes) -> Figure:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _log_axes(axes: Axes, x: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(x))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    _plain_numbers(axes.yaxis)
    axes.grid(axis="y")


def _plain_numbers(axis: Axis) -> None:
    """Label 1, 2 and 5 of each decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
