"""Figures of the mechanism: where a fact enters, and which attention it needs. One panel per part or kind of edge."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from moefacts.analysis.mechanism import by_layer, mechanism_of
from moefacts.runs.reader import Run

TRACING_CAPTION = (
    "Where the fact enters: the model reads another person's name, and one part of one layer is, at one place of the "
    "sentence, what it is with the right name. Share of the lost probability of the right value that comes back; empty "
    "where the name makes less than 1% of difference to that probability."
)
KNOCK_OUT_CAPTION = (
    "Which attention the answer needs: change of the probability of the true value when tokens of one kind cannot "
    "attend to those of another, in one layer, in all layers up to it, or in it and all after."
)
_LEAST = 0.01  # of probability that the name makes; where it makes less, there is no share of it to show
SITES = ("begin", "before name", "first name", "middle name", "last name", "after name", "last")
_SITE_LABELS = {"last": "last word", "after name": "words after", "before name": "words before"}
_PARTS = {"state": "state after the layer", "attention": "attention", "mlp": "MLP"}
_EDGES = {
    "name from name": "within the name",
    "value from name": "last word → name",
    "value from words": "last word → other words",
}
_WINDOWS = {
    "only": ("this layer alone", "o", "-"),
    "up to": ("all up to it", "^", "--"),
    "from": ("it and all after", "s", ":"),
}
Measures = Sequence[pd.Series]


def _mean(runs: Sequence[Run]) -> pd.Series:
    return pd.concat([mechanism_of(run) for run in runs], axis=1).mean(axis=1)


def tracing(runs: Sequence[Run]) -> Figure:
    """Draw the indirect effect of every part, place and layer, as a share of the whole effect; mean over runs."""
    measures = _mean(runs)
    whole = measures["probability", "clean", "value", 0] - measures["probability", "other name", "value", 0]
    width, height = plt.rcParams["figure.figsize"]
    figure, panels = plt.subplots(1, len(_PARTS), figsize=(2.1 * width, 1.05 * height), sharey=True)
    for axes, (part, title) in zip(panels, _PARTS.items(), strict=True):
        rows = [by_layer(measures, ("restored", part, site)) for site in SITES]
        effect_SL = np.array([row.sort_index().to_numpy() for row in rows]) / (whole if whole >= _LEAST else np.nan)
        image = axes.imshow(effect_SL, aspect="auto", cmap="viridis", vmin=0, vmax=1)
        for place, layer in np.ndindex(effect_SL.shape):
            share = effect_SL[place, layer]
            if abs(share) >= 0.005:
                color = "white" if share < 0.6 else "black"
                axes.text(layer, place, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=color)
        axes.set_xticks(range(effect_SL.shape[1]), [str(layer + 1) for layer in range(effect_SL.shape[1])])
        axes.set_yticks(range(len(SITES)), [_SITE_LABELS.get(site, site) for site in SITES])
        axes.set_xlabel("layer")
        axes.set_title(title)
        for spine in axes.spines.values():
            spine.set_visible(False)
    figure.colorbar(image, ax=panels, label="share of the effect (%)", shrink=0.9, format=lambda x, _: f"{100 * x:.0f}")
    return figure


def knock_outs(runs: Sequence[Run]) -> Figure:
    """Draw the change of probability by layer for every kind of edge and window; thin lines are single runs."""
    each = [mechanism_of(run) for run in runs]
    width, height = plt.rcParams["figure.figsize"]
    figure, panels = plt.subplots(1, len(_EDGES), figsize=(2.1 * width, height), sharey=True)
    for axes, (edges, title) in zip(panels, _EDGES.items(), strict=True):
        for index, (window, (label, marker, style)) in enumerate(_WINDOWS.items()):
            curves = [by_layer(one, ("knock-out", window, edges)).sort_index() for one in each]
            mean = pd.concat(curves, axis=1).mean(axis=1)
            for curve in curves if len(curves) > 1 else []:
                axes.plot(curve.index + 1, curve, color=f"C{index}", linewidth=0.6, alpha=0.4)
            axes.plot(
                mean.index + 1, mean, color=f"C{index}", linestyle=style, marker=marker, markersize=4, label=label
            )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_ylim(-1.05, 0.2)
        axes.set_xticks(range(1, len(mean) + 1))
        axes.set_xlabel("layer")
        axes.set_title(title)
        axes.yaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f}%".replace("-", "−"))
        axes.grid(axis="y")
    panels[0].set_ylabel("change of probability")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


# Name -> (caption, drawing function)
FIGURES = {
    "mechanism_tracing": (TRACING_CAPTION, tracing),
    "mechanism_knock_outs": (KNOCK_OUT_CAPTION, knock_outs),
}
