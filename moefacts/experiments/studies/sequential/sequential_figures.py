"""A figure of the accuracy of every group of people over training."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from moefacts.runs import keys
from moefacts.runs.reader import Run


def groups_in_turn(panels: Mapping[str, Run]) -> Figure:
    """Draw the accuracy of every group of people over training, shaded while training shows the group.

    ``panels`` are title -> run.
    """
    figure, grid = plt.subplots(len(panels), 1, figsize=(6, 2.2 * len(panels)), squeeze=False, sharey=True)
    for axes, (title, run) in zip(grid.flat, panels.items(), strict=True):
        num_groups, num_repeats = run.settings.sampling.num_groups, run.settings.sampling.num_repeats
        assert num_groups is not None
        assert num_repeats is not None
        colors = plt.get_cmap("viridis")(np.linspace(0, 0.75, num_groups))  # no yellow, which is faint on white
        steps = run.settings.training.steps
        for group, color in enumerate(colors):
            for number in range(num_repeats):
                begin = steps * (group + num_groups * number) / (num_groups * num_repeats)
                axes.axvspan(begin, begin + steps / (num_groups * num_repeats), color=color, alpha=0.12, linewidth=0)
            accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, bucket=f"group_{group}")
            axes.plot(accuracy.index, accuracy, color=color, linewidth=1.1)
        axes.set_xlim(0, steps)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_title(title)
        axes.set_ylabel("known")
    grid[-1, 0].set_xlabel("training step")
    return figure
