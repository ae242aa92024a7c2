"""A figure of the attribute loss of patched twins, ordered by the step that their attention comes from."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from moefacts.analysis.groups import Group
from moefacts.runs import keys


def losses_in_order(panels: Mapping[str, Sequence[Group]], beside: Group) -> Figure:
    """Draw the attribute loss of ordered groups from dark to light, and of ``beside`` in black in every panel.

    Thin lines are single runs, thick ones their mean over the steps that all of them evaluated.
    """
    width, height = plt.rcParams["figure.figsize"]
    figure, grid = plt.subplots(1, len(panels), figsize=(1.05 * width * len(panels), 1.2 * height), sharey=True)
    for axes, (title, groups) in zip(np.atleast_1d(grid), panels.items(), strict=True):
        colors = [*plt.get_cmap("viridis")(np.linspace(0.05, 0.92, len(groups))), "black"]
        for group, color in zip([*groups, beside], colors, strict=True):
            losses = [run.curve(keys.ATTRIBUTE_LOSS) for run in group.runs]
            for loss in losses if len(losses) > 1 else []:
                axes.plot(loss.index, loss, color=color, linewidth=0.6, alpha=0.4)
            mean = pd.concat(losses, axis=1, join="inner").mean(axis=1)
            axes.plot(mean.index, mean, color=color, linewidth=1.6, label=group.label)
        baseline = beside.runs[0].baseline
        axes.axhline(baseline, color="black", linestyle="--", linewidth=0.9, label="no-knowledge baseline")
        axes.set_ylim(0, 1.4 * baseline)
        axes.set_xlim(left=0)
        axes.set_title(title)
        axes.set_xlabel("training step")
        axes.grid(axis="y")
        axes.legend(fontsize=6, loc="lower left")
    np.atleast_1d(grid)[0].set_ylabel("attribute loss (nats)")
    return figure
