"""The figure of the plateau's floor and of knowledge, by population size."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from moefacts.analysis.knowledge import LEVEL, knowledge_curve
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.plateau_law.plateau_law_figures import log_axis
from moefacts.runs import keys

CAPTION = (
    "Floor and knowledge by population size, one line per run. Left: the loss on permuted values, which knowledge of "
    "persons cannot lower, against steps in plateau ends; the plateau ends where the loss on true values falls below "
    "the dotted line. Right: knowledge; the dotted line is 5%."
)
# Losses and knowledge in baselines, and steps in plateau ends, beyond these would hide the floor and the 5%.
_TOP, _MOST, _LAST = 1.35, 0.4, 1.4


def floor_figure(runs: Sequence[FinishedRun]) -> Figure:
    """Draw the control losses and the knowledge of ``runs`` that measured them, one colour per population size."""
    width, height = plt.rcParams["figure.figsize"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(1.75 * width, 1.2 * height))
    sizes = sorted({run.labels["size"] for run in runs})
    colors = dict(zip(sizes, plt.get_cmap("viridis")(np.linspace(0, 0.92, len(sizes))), strict=True))
    for run in runs:
        curve = knowledge_curve(run.record, run.measures["plateau_start"])
        if curve is None:
            continue
        style = {"color": colors[run.labels["size"]], "linewidth": 0.9, "alpha": 0.85}
        later = curve[curve.index > 0]  # the axis is logarithmic
        right.plot(later.index, later["knowledge"], **style)
        if (end := run.measures["plateau_end_interpolated"]) is not None:
            control = run.record.curve(keys.CONTROL_LOSS) / run.record.baseline
            left.plot(control.index / end, control, marker="o", markersize=2, **style)
    threshold = runs[0].measures["plateau_threshold"]
    left.axhline(threshold, color="black", linestyle=":", linewidth=0.9)
    left.set_ylim(threshold - 0.02, _TOP)
    left.set_xlim(0, _LAST)
    left.set_xlabel("steps / plateau end")
    left.set_ylabel("loss on permuted values (baselines)")
    right.axhline(LEVEL, color="black", linestyle=":", linewidth=0.9)
    right.set_ylim(-0.02, min(right.get_ylim()[1], _MOST))
    right.set_xscale("log")
    log_axis(right.xaxis, *right.get_xlim())
    right.set_xlabel("training step")
    right.set_ylabel("knowledge (baselines)")
    for axes in (left, right):
        axes.grid(axis="y")
    handles = [Line2D([], [], color=color, linewidth=1.6, label=f"{size:,} people") for size, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure
