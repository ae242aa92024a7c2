"""A figure of the attribute loss of patched twins, ordered by the moment that their attention comes from."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moefacts.analysis.groups import Group
from moefacts.runs import keys

_ROWS = {keys.ATTRIBUTE_LOSS: "attribute loss (nats)", keys.CONTROL_LOSS: "control: permuted values (nats)"}


def losses_in_order(panels: Mapping[str, Sequence[Group]], beside: Group) -> Figure:
    """Draw the attribute loss of ordered groups from dark to light, and of ``beside`` in black in every panel.

    The control loss has a row of its own, if ``beside`` has one. Thin lines are single runs, thick ones their mean over
    the steps that all of them evaluated.
    """
    width, height = plt.rcParams["figure.figsize"]
    rows = [measure for measure in _ROWS if beside.runs[0].has_curve(measure)]
    size = (1.05 * width * len(panels), 1.2 * height * len(rows))
    figure, grid = plt.subplots(len(rows), len(panels), figsize=size, sharex="col", sharey="row", squeeze=False)
    for row, measure in zip(grid, rows, strict=True):
        for axes, (title, groups) in zip(row, panels.items(), strict=True):
            _draw(axes, [*groups, beside], measure)
            if measure == keys.ATTRIBUTE_LOSS:
                axes.set_title(title)
                axes.legend(fontsize=6, loc="lower left")
        row[0].set_ylabel(_ROWS[measure])
    for axes in grid[-1]:
        axes.set_xlabel("training step")
    return figure


def _draw(axes: Axes, groups: Sequence[Group], measure: str) -> None:
    """Draw a measure of every group; the last one, which is black, gives the baseline."""
    colors = [*plt.get_cmap("viridis")(np.linspace(0.05, 0.92, len(groups) - 1)), "black"]
    for group, color in zip(groups, colors, strict=True):
        curves = [run.curve(measure) for run in group.runs if run.has_curve(measure)]
        for curve in curves if len(curves) > 1 else []:
            axes.plot(curve.index, curve, color=color, linewidth=0.6, alpha=0.4)
        if curves:
            mean = pd.concat(curves, axis=1, join="inner").mean(axis=1)
            axes.plot(mean.index, mean, color=color, linewidth=1.6, label=group.label)
    baseline = groups[-1].runs[0].baseline
    axes.axhline(baseline, color="black", linestyle="--", linewidth=0.9, label="no-knowledge baseline")
    axes.set_ylim(0, (1.4 if measure == keys.ATTRIBUTE_LOSS else 2.8) * baseline)
    axes.set_xlim(left=0)
    axes.grid(axis="y")
