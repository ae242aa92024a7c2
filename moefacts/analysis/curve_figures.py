"""Curves of single runs in panels: against biographies seen, and of groups of people that are shown in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from moefacts.analysis.runs import Group, Run

_COLUMNS = 3


@dataclass(frozen=True)
class Curve:
    """A run and what it is called."""

    label: str
    run: Run


def curves_by_biographies(panels: Mapping[str, Sequence[Curve]]) -> Figure:
    """Attribute loss over the baseline against biographies seen, so that batch sizes compare; a panel a title."""
    num_rows = -(-len(panels) // _COLUMNS)
    figure, grid = plt.subplots(num_rows, _COLUMNS, figsize=(3 * _COLUMNS, 2.4 * num_rows), squeeze=False, sharey=True)
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        for curve in curves:
            loss = curve.run.evaluations["eval/seen/attribute_loss"] / curve.run.baseline
            seen = loss.index * curve.run.config["training"]["batch_size"] / 1000
            axes.plot(seen, loss, label=curve.label, linewidth=1.2)
        axes.axhline(1, color="black", linestyle="--", linewidth=0.9)
        axes.set_ylim(0, 1.5)
        axes.set_title(title)
        axes.set_xlabel("biographies seen (thousands)")
        axes.grid(axis="y")
        axes.legend(fontsize=6)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("attribute loss / baseline")
    return figure


def losses_in_order(panels: Mapping[str, Sequence[Group]], beside: Group) -> Figure:
    """Attribute loss of groups that have an order, from dark to light, and of one that is black in every panel.

    Thin lines are single runs, thick ones their mean over the steps that all of them evaluated.
    """
    width, height = plt.rcParams["figure.figsize"]
    figure, grid = plt.subplots(1, len(panels), figsize=(1.05 * width * len(panels), 1.2 * height), sharey=True)
    for axes, (title, groups) in zip(np.atleast_1d(grid), panels.items(), strict=True):
        colors = [*plt.get_cmap("viridis")(np.linspace(0.05, 0.92, len(groups))), "black"]
        for group, color in zip([*groups, beside], colors, strict=True):
            losses = [run.evaluations["eval/seen/attribute_loss"] for run in group.runs]
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


def groups_in_turn(panels: Mapping[str, tuple[Run, int]]) -> Figure:
    """Accuracy of every group of people over training, shaded while it is shown; title -> run and number of groups."""
    figure, grid = plt.subplots(len(panels), 1, figsize=(6, 2.2 * len(panels)), squeeze=False, sharey=True)
    for axes, (title, (run, num_groups)) in zip(grid.flat, panels.items(), strict=True):
        colors = plt.get_cmap("viridis")(np.linspace(0, 0.95, num_groups))
        steps = run.config["training"]["steps"]
        for group, color in enumerate(colors):
            axes.axvspan(
                steps * group / num_groups, steps * (group + 1) / num_groups, color=color, alpha=0.12, linewidth=0
            )
            accuracy = run.evaluations[f"eval/seen/bucket/group_{group}/attribute_accuracy"]
            axes.plot(accuracy.index, accuracy, color=color, linewidth=1.1)
        axes.set_xlim(0, steps)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_title(title)
        axes.set_ylabel("known")
    grid[-1, 0].set_xlabel("training step")
    return figure
