"""Old against new accuracy for every method: how much is kept when so much of the new people is known."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from moefacts.analysis.curves import marker_of
from moefacts.analysis.forgetting import old_and_new_accuracy
from moefacts.analysis.phases import steps_to_accuracy
from moefacts.runs import keys
from moefacts.runs.reader import Run

_LEVELS = np.array([*np.arange(0.05, 0.96, 0.05), 0.99])
_PANEL = (3.4, 3.2)  # inches, without the legend
_LEGEND_ROW = 0.19


def old_at_levels(run: Run) -> np.ndarray:
    """The accuracy on old people where new accuracy first reaches each of ``_LEVELS``; NaN where it does not."""
    path = old_and_new_accuracy(run, keys.SEEN)
    step, new = path.index.to_numpy(), path["learned"].to_numpy()
    reached = [steps_to_accuracy(step, new, level) for level in _LEVELS]
    return np.array([np.nan if at is None else np.interp(at, step, path["old"]) for at in reached])


def old_against_new(panels: Mapping[str, Mapping[str, Sequence[Run]]], methods: Sequence[str]) -> Figure:
    """Draw a panel of every kind of model; ``panels`` are kind -> method -> runs, colours those of ``methods``.

    A line is the mean over seeds. It ends where some seed knows no more of the new people; its mark is there.
    """
    rows = -(-len(methods) // 4)
    figure, axes_row = plt.subplots(
        1, len(panels), figsize=(_PANEL[0] * len(panels), _PANEL[1] + _LEGEND_ROW * rows), sharey=True, squeeze=False
    )
    colors = dict(zip(methods, plt.get_cmap("tab20")(np.arange(len(methods)) * 2 % 19), strict=True))
    for axes, (kind, by_method) in zip(axes_row[0], panels.items(), strict=True):
        for method, runs in by_method.items():
            mean = np.mean([old_at_levels(run) for run in runs], axis=0)
            known = np.flatnonzero(~np.isnan(mean))
            style = {"color": colors[method], "marker": marker_of(methods.index(method)), "markersize": 4}
            axes.plot(_LEVELS[known], mean[known], linewidth=1.1, markevery=[-1] if len(known) else None, **style)
        for of_axis in (axes.xaxis, axes.yaxis):
            of_axis.set_major_formatter(PercentFormatter(1))
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_title(kind)
        axes.set_xlabel("new values known")
        axes.grid(axis="y")
    axes_row[0][0].set_ylabel("old values known")
    handles = [
        plt.Line2D([], [], color=colors[method], marker=marker_of(place), markersize=4, label=method)
        for place, method in enumerate(methods)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure
