"""A figure of recall over fine-tuning, one panel for each arm of a toy memory."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter
from scipy import stats

_COLUMNS = 3
_FIRST = 0.6  # where step 0 is drawn on the logarithmic axis


def recall_over_steps(table: pd.DataFrame) -> Figure:
    """Draw the mean recall of every group over seeds, with its 95% interval as a band, in one panel for each arm.

    ``table`` has the columns of ``runs.tables.RECALL``, and ``seed``.
    """
    arms, groups = (list(dict.fromkeys(table[column])) for column in ("arm", "group"))
    num_rows = math.ceil(len(arms) / _COLUMNS)
    figure, grid = plt.subplots(
        num_rows, _COLUMNS, figsize=(7.5, 2.1 * num_rows + 0.4), squeeze=False, sharex=True, sharey=True
    )
    for axes in grid.flat[len(arms) :]:
        axes.set_axis_off()
    colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for place, (arm, axes) in enumerate(zip(arms, grid.flat, strict=False)):
        of_arm = table[table["arm"] == arm]
        for group, color in zip(groups, colors, strict=False):
            seeds = of_arm[of_arm["group"] == group].pivot(index="step", columns="seed", values="accuracy")
            x, mean = np.maximum(seeds.index, _FIRST), seeds.mean(axis=1)
            axes.plot(x, mean, color=color, label=group, linewidth=1.3)
            if seeds.shape[1] > 1:
                half = stats.t.ppf(0.975, seeds.shape[1] - 1) * seeds.sem(axis=1)
                low, high = (mean - half).clip(0, 1), (mean + half).clip(0, 1)
                axes.fill_between(x, low, high, color=color, alpha=0.25, linewidth=0)
        axes.set_title(arm)
        axes.grid(axis="y")
        if place % _COLUMNS == 0:
            axes.set_ylabel("recalled")
        if place + _COLUMNS >= len(arms):
            axes.set_xlabel("step of fine-tuning")
            axes.xaxis.set_tick_params(labelbottom=True)
    first = grid.flat[0]
    first.set_xscale("log")
    first.set_ylim(0, 1.02)
    first.yaxis.set_major_formatter(PercentFormatter(1))
    first.xaxis.set_minor_formatter(NullFormatter())
    powers = [10**power for power in range(math.floor(math.log10(table["step"].max())) + 1)]
    first.set_xticks([_FIRST, *powers], ["0", *(f"{power:,}" for power in powers)])
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=len(groups))
    return figure
