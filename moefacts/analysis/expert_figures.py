"""What single experts hold, as a picture: probability lost by attribute and expert, a panel for each layer."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from moefacts.analysis.expert_facts import layers_of, lost_by_expert
from moefacts.runs.reader import Run

EXPERTS_CAPTION = (
    "What single experts hold: the probability of the true value that is lost when one expert is silenced, mean over "
    "people, by attribute. Experts that no token uses are left out; numbers are percentage points, from 1 on."
)
_MOST_NUMBERED = 12  # experts of a panel with numbers in its cells


def experts(run: Run) -> Figure:
    """Draw the loss by attribute (rows) and expert (columns), a panel for each layer, the first on the left."""
    layers = layers_of(run)
    width, height = plt.rcParams["figure.figsize"]
    assert run.mechanism_experts is not None, "see has_expert_facts"
    names = run.mechanism_experts["attribute"].unique().tolist()
    losses = [lost_by_expert(run, layer).groupby(level="attribute").mean().loc[names] for layer in layers]
    most = max(0.01, *(float(loss.to_numpy().max()) for loss in losses))
    columns = min(2, len(layers))
    figure, panels = plt.subplots(
        -(-len(layers) // columns), columns, figsize=(2.1 * width, 0.85 * height * -(-len(layers) // columns)),
        squeeze=False, sharey=True,
    )  # fmt: skip
    for axes, layer, loss in zip(panels.flat, layers, losses, strict=False):
        loss_AE = np.maximum(0.0, loss.to_numpy())
        image = axes.imshow(loss_AE, aspect="auto", cmap="viridis", vmin=0, vmax=most)
        for row, column in np.ndindex(loss_AE.shape) if loss_AE.shape[1] <= _MOST_NUMBERED else ():
            lost = loss_AE[row, column]
            if lost >= 0.01:
                color = "white" if lost < 0.6 * most else "black"
                axes.text(column, row, f"{100 * lost:.0f}", ha="center", va="center", fontsize=6, color=color)
        every = 1 if loss_AE.shape[1] <= _MOST_NUMBERED else 4
        axes.set_xticks(range(0, loss_AE.shape[1], every), [str(expert) for expert in loss.columns[::every]])
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_xlabel("expert")
        axes.set_title(f"layer {layer + 1}")
        for spine in axes.spines.values():
            spine.set_visible(False)
    for axes in panels.flat[len(layers) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=panels, label="probability lost (points)", format=lambda x, _: f"{100 * x:.0f}")
    return figure
