"""What methods save against what they cost: a point for every method and strength, a panel for every kind of model."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from moefacts.analysis.curves import color_of, marker_of

_PANEL = (3.4, 3.2)  # inches, without the legend
_LEGEND_ROW = 0.19
Points = Mapping[str, Sequence[tuple[float, float]]]  # method -> (accuracy, hallucination rate) of each strength


def pareto(panels: Mapping[str, Points]) -> Figure:
    """Draw ``panels``, kind of model -> points. A method's strengths are joined. Lower and more right is better."""
    methods = list(dict.fromkeys(method for points in panels.values() for method in points))
    rows = -(-len(methods) // 3)
    figure, axes_row = plt.subplots(
        1, len(panels), figsize=(_PANEL[0] * len(panels), _PANEL[1] + _LEGEND_ROW * rows), sharey=True, squeeze=False
    )
    for axes, (kind, points) in zip(axes_row[0], panels.items(), strict=True):
        for method, found in points.items():
            accuracy_S, rate_S = np.array(found).reshape(-1, 2).T
            style = {"color": color_of(methods.index(method)), "marker": marker_of(methods.index(method))}
            axes.plot(accuracy_S, rate_S, markersize=5, linewidth=0.8, **style)
        for of_axis in (axes.xaxis, axes.yaxis):
            of_axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            of_axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_title(kind)
        axes.set_xlabel("values of seen people known")
        axes.grid(axis="y")
    axes_row[0][0].set_ylabel("values of unseen people answered")
    handles = [
        plt.Line2D([], [], color=color_of(place), marker=marker_of(place), markersize=5, label=method)
        for place, method in enumerate(methods)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
