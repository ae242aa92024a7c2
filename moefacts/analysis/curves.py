"""Curves of runs that differ only in their seed, and the legend of several groups of runs."""

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_MARKERS = "os^DvPX<>ph"


def color_of(place: int) -> str:
    """The colour of the line at ``place`` among several."""
    colors: list[str] = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    return colors[place % len(colors)]


def marker_of(place: int) -> str:
    """The marker of the line at ``place`` among several, so that colour is not all that tells them apart."""
    return _MARKERS[place % len(_MARKERS)]


def draw_mean(
    axes: Axes, curves: list[pd.Series], color: str, style: str, label: str | None = None, place: int | None = None
) -> None:
    """Draw every curve as a thin line, and the mean over the steps that all of them have as a thick one.

    ``place`` is the group's among several: its marker stands on the mean at some eight places.
    """
    for curve in curves if len(curves) > 1 else []:
        axes.plot(curve.index, curve, color=color, linewidth=0.7, alpha=0.45, linestyle=style)
    mean = pd.concat(curves, axis=1, join="inner").mean(axis=1)
    (line,) = axes.plot(mean.index, mean, color=color, linestyle=style, label=label, markersize=3.5)
    if place is not None:
        line.set_marker(marker_of(place))
        line.set_markevery((0.02 + 0.015 * place, 0.13))


def legend_below(axes: Axes) -> None:
    """Put the legend of ``axes`` below all panels of its figure, which grows by it: labels of groups can be long."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    handles, labels = axes.get_legend_handles_labels()
    wrapped = ["\n".join(textwrap.wrap(label, 60)) for label in labels]
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.17 * sum(1 + label.count("\n") for label in wrapped))
    figure.legend(handles, wrapped, loc="outside lower center")
