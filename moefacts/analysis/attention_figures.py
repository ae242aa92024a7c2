"""Figures of attention signatures over training: one panel per signature, one colour per layer."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from moefacts.analysis.groups import Group
from moefacts.analysis.phase_bands import shade_phases

# Signature -> title of its panel
PANELS = {
    "name_to_name": "end of a name → other name tokens",
    "attribute_to_name": "before a value → name tokens",
    "attribute_to_text": "before a value → template tokens",
    "name_entropy": "entropy / ln t, end of a name",
    "attribute_entropy": "entropy / ln t, before a value",
}
ATTENTION_CAPTION = (
    "Where attention goes from the last token of a name and from the token before a value. Dashed: without preference."
)
_LAYERS_PER_COLUMN = 6


def signature_curves(group: Group, signature: str) -> list[pd.DataFrame]:
    """One table of a signature for each probed run of ``group``: one row per checkpoint, one column per layer."""
    tables = [run.attention for run in group.runs]
    return [
        table[table["signature"] == signature].pivot(index="step", columns="layer", values="value")
        for table in tables
        if table is not None
    ]


def attention_signatures(group: Group, threshold: float | None = None) -> Figure:
    """Draw every signature: thin lines are single runs, thick ones their mean, dashed is without preference."""
    width, height = plt.rcParams["figure.figsize"]
    figure, grid = plt.subplots(2, 3, figsize=(1.9 * width, 1.7 * height))
    table = next(run.attention for run in group.runs if run.attention is not None)
    num_layers = int(table["layer"].max()) + 1
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.85, num_layers))
    for axes, (signature, title) in zip(grid.flat, PANELS.items(), strict=False):
        curves = signature_curves(group, signature)
        mean = pd.concat(curves, join="inner").groupby(level="step").mean()
        for layer, color in enumerate(colors):
            for curve in curves if len(curves) > 1 else []:
                axes.plot(curve.index, curve[layer], color=color, linewidth=0.6, alpha=0.4)
            axes.plot(mean.index, mean[layer], color=color, label=f"layer {layer + 1}")
        reference = table.loc[table["signature"] == signature, "reference"].mean()
        axes.axhline(reference, color="black", linestyle="--", linewidth=0.9, label="without preference")
        axes.set_ylim(0, 1.02)
        axes.set_title(title, fontsize=8, pad=14)
        axes.set_xlabel("training step")
        axes.grid(axis="y")
        shade_phases(axes, group, threshold)
    for axes in grid[:, 0]:
        axes.set_ylabel("share of attention" if axes is grid[0, 0] else "entropy / ln t")
    legend = grid[1, 2]
    legend.axis("off")
    legend.legend(
        *grid[0, 0].get_legend_handles_labels(), loc="center", ncols=-(-(num_layers + 1) // _LAYERS_PER_COLUMN)
    )
    return figure
