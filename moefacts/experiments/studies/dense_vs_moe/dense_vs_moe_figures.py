"""A figure of how the load of experts develops with each kind of balancing."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from moefacts.runs.reader import Run


def load_over_training_by_balancing(runs: Mapping[str, Run]) -> Figure:
    """Draw every expert's share of assignments over training: one column per kind of balancing, one row per layer."""
    layers = next(iter(runs.values())).routed_layers
    figure, panels = plt.subplots(
        len(layers), len(runs), figsize=(1.9 * len(runs), 1.9 * len(layers)), squeeze=False, sharex=True, sharey=True
    )
    for column, (name, run) in enumerate(runs.items()):
        num_experts = run.num_experts
        colors = plt.get_cmap("viridis")(np.linspace(0, 1, num_experts))
        for row, layer in enumerate(layers):
            axes = panels[row][column]
            load = [run.load_fraction(layer, expert) for expert in range(num_experts)]
            load = sorted(load, key=lambda one: -one.iloc[-1])  # experts with the largest final load at the bottom
            axes.stackplot(load[0].index, load, colors=colors, linewidth=0.2, edgecolor="white")
            axes.set_xlim(load[0].index[0], load[0].index[-1])
            axes.set_ylim(0, 1)
            if row == 0:
                axes.set_title(name, fontsize=8)
            if row == len(layers) - 1:
                axes.set_xlabel("training step")
            if column == 0:
                axes.set_ylabel(f"layer {layer + 1}\nshare of assignments")
    return figure
