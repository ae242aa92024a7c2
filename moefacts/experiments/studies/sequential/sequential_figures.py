"""A figure of the accuracy of every group of people over training."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from moefacts.runs import keys
from moefacts.runs.reader import Run


def groups_in_turn(panels: Mapping[str, tuple[Run, int]]) -> Figure:
    """Draw the accuracy of every group of people over training, shaded while training shows the group.

    ``panels`` are title -> (run, number of groups).
    """
    figure, grid = plt.subplots(len(panels), 1, figsize=(6, 2.2 * len(panels)), squeeze=False, sharey=True)
    for axes, (title, (run, num_groups)) in zip(grid.flat, panels.items(), strict=True):
        colors = plt.get_cmap("viridis")(np.linspace(0, 0.95, num_groups))
        steps = run.settings.training.steps
        for group, color in enumerate(colors):
            axes.axvspan(
                steps * group / num_groups, steps * (group + 1) / num_groups, color=color, alpha=0.12, linewidth=0
            )
            accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, bucket=f"group_{group}")
            axes.plot(accuracy.index, accuracy, color=color, linewidth=1.1)
        axes.set_xlim(0, steps)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_title(title)
        axes.set_ylabel("known")
    grid[-1, 0].set_xlabel("training step")
    return figure
