"""The figures of law-causes."""

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from moefacts.analysis.comparison import Paired

_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)


def factors_figure(changes: Mapping[str, Mapping[str, Paired | None]]) -> Figure:
    """Draw the factor of every change as a mark with its 95% interval, the dots of seeds behind, on a log axis.

    Args:
        changes: change -> measure -> the log ratio that the change makes; None where there is none.
    """
    width, height = plt.rcParams["figure.figsize"]
    figure, axes = plt.subplots(figsize=(1.25 * width, 0.55 * len(changes) + 0.3 * height))
    measures = list(next(iter(changes.values())))
    colors = dict(zip(measures, plt.rcParams["axes.prop_cycle"].by_key()["color"], strict=False))
    reach = [1.0]
    for row, by_measure in enumerate(changes.values()):
        for place, measure in enumerate(measures):
            pair = by_measure[measure]
            if pair is None:
                continue
            y = row + 0.22 * (place - (len(measures) - 1) / 2)
            axes.plot(np.exp(pair.values), [y] * len(pair.values), ".", color=colors[measure], markersize=3, alpha=0.6)
            label = measure if not any(measure == text for text in axes.get_legend_handles_labels()[1]) else None
            axes.errorbar(
                math.exp(pair.mean),
                y,
                xerr=_bars(pair),
                fmt="o",
                color=colors[measure],
                capsize=2,
                markersize=4,
                label=label,
            )
            reach += [math.exp(value) for value in (pair.mean, *pair.values)]
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(0.8 * min(reach), 1.25 * max(reach))
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"×{x:g}"))
    axes.set_yticks(range(len(changes)), list(changes))
    axes.set_ylim(len(changes) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_xlabel("factor")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _bars(pair: Paired) -> list[list[float]]:
    """How far the bar of a factor reaches to either side; without an interval, or on an infinite side, not at all."""
    mean = math.exp(pair.mean)
    low, high = pair.interval if pair.interval is not None else (pair.mean, pair.mean)
    ends = [math.exp(end) if math.isfinite(end) else mean for end in (low, high)]
    return [[max(0.0, mean - ends[0])], [max(0.0, ends[1] - mean)]]
