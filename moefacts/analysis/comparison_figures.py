"""Figures that compare runs over population size or another quantity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from moefacts.analysis.curves import marker_of
from moefacts.analysis.summary import SHOWN_WITH_INTERVAL, Estimate, estimate

_DODGE = 0.025  # shift, as a share of the size, that sets the intervals of several models side by side


@dataclass(frozen=True)
class Series:
    """One line of a figure, such as a model over population sizes: x -> one number per seed."""

    label: str
    values: Mapping[Any, Sequence[float | None]]


def compare_over(
    rows: Mapping[str, Mapping[str, Sequence[Series]]], xlabel: str = "people", logarithmic: bool = True
) -> Figure:
    """Draw panels with one column per measure: means over seeds, runs as dots, 95% intervals from three seeds up.

    A single row of more than three measures is wrapped.

    Args:
        rows: row title -> measure (the y label) -> its lines. Lines of the same label share a colour.
        xlabel: the quantity on the x axis.
        logarithmic: whether the x axis is logarithmic.
    """
    measures = list(next(iter(rows.values())))
    is_wrapped = len(rows) == 1 and len(measures) > 3
    num_columns = math.ceil(len(measures) / 2) if is_wrapped else len(measures)
    num_rows = 2 if is_wrapped else len(rows)
    labels = list(dict.fromkeys(line.label for row in rows.values() for lines in row.values() for line in lines))
    figure, grid = plt.subplots(
        num_rows,
        num_columns,
        figsize=(3.1 * num_columns + (num_columns == 1), 2.5 * num_rows + 0.17 * len(labels) * (num_columns == 1)),
        squeeze=False,
        sharex=not is_wrapped,
        sharey=False if is_wrapped else "col",
    )
    panels = grid.reshape(1, -1) if is_wrapped else grid
    for axes in panels[0][len(measures) :]:
        axes.set_axis_off()
    colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    handles = {}
    for row, (title, by_measure) in enumerate(rows.items()):
        for column, measure in enumerate(measures):
            axes = panels[row][column]
            lines = by_measure[measure]
            for place, line in enumerate(lines):
                shift = 1 + _DODGE * (place - (len(lines) - 1) / 2) * logarithmic
                number = labels.index(line.label)
                handles[line.label] = _line(axes, line, shift, colors[number % len(colors)], marker_of(number))
            axes.set_xscale("log" if logarithmic else "linear")
            sizes = sorted({size for line in lines for size in line.values})
            axes.xaxis.set_major_locator(FixedLocator(sizes))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
            axes.set_ylabel(measure)
            axes.set_title(title)
            axes.grid(axis="y")
            if row == len(rows) - 1:
                axes.set_xlabel(xlabel)
    for column in range(len(measures)):
        _fit_to_dots(panels[:, column], [row[measures[column]] for row in rows.values()])
    ncols = min(num_columns, 3, len(handles))  # a label may be as wide as a panel
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols)
    return figure


def _line(axes: Axes, line: Series, shift: float, color: str, marker: str) -> Line2D:
    """Draw a line of means, its intervals and the runs as dots; returns what stands for it in the legend."""
    sizes = sorted(line.values)
    means = {size: mean for size in sizes if (mean := estimate(list(line.values[size]))) is not None}
    x = np.array(list(means), float) * shift
    y = np.array([mean.mean for mean in means.values()])
    half = np.array([_half(mean) for mean in means.values()])
    for size in means:
        dots = [value for value in line.values[size] if value is not None]
        axes.plot([size * shift] * len(dots), dots, ".", color=color, markersize=3, alpha=0.6)
    if (known := ~np.isnan(half)).any():
        axes.errorbar(x[known], y[known], yerr=half[known], color=color, capsize=2, linewidth=0, elinewidth=0.9)
    (means_line,) = axes.plot(x, y, color=color, marker=marker, markersize=4, linewidth=1.2)
    return means_line


def _half(mean: Estimate) -> float:
    return mean.mean - mean.low if mean.low is not None and mean.count >= SHOWN_WITH_INTERVAL else math.nan


def _fit_to_dots(panels, rows: Sequence[Sequence[Series]]) -> None:
    """Set the y limits from the runs, because an interval over three seeds can be far wider than the runs' range."""
    values = [v for row in rows for line in row for seeds in line.values.values() for v in seeds if v is not None]
    if values:
        low, high = min(values), max(values)
        margin = 0.25 * (high - low) or 0.1 * abs(high) or 0.1
        for axes in panels:
            axes.set_ylim(max(low - margin, 0 if low >= 0 else low - margin), high + margin)
