"""The figures of leaving."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from moefacts.experiments.studies.leaving.forgotten import Forgotten

CAPTION = (
    "What is known of people who are shown no more from the plateau's end on, and of those who stay: the loss on "
    "people never shown minus the loss on them, over its value when they left. Thin: runs."
)


def known_figure(panels: Mapping[str, Sequence[Forgotten]]) -> Figure:
    """Draw what is known of those who stay and of those who left, by steps since then; title -> runs of a panel."""
    width, height = plt.rcParams["figure.figsize"]
    size = (0.62 * width * len(panels), height)
    figure, grid = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axes, (title, ours) in zip(grid[0], panels.items(), strict=True):
        for part, color in (("staying", "#0072B2"), ("leaving", "#D55E00")):
            curves = [one.known[part] / one.known[part].iloc[0] for one in ours]
            for curve in curves:
                axes.plot(curve.index, curve, color=color, linewidth=0.6, alpha=0.5)
            mean = pd.concat([pd.Series(c.to_numpy(), range(len(c))) for c in curves], axis=1).mean(axis=1)
            axes.plot(curves[0].index[: len(mean)], mean, color=color, label=f"people {part}")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(title)
        axes.set_xlabel("steps since they left")
        axes.grid(axis="y")
    grid[0][0].set_ylabel("known, over its value then")
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
