"""A figure of the attribute loss against biographies seen, with one panel per varied setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from moefacts.runs import keys
from moefacts.runs.reader import Run

_COLUMNS = 3


@dataclass(frozen=True)
class Curve:
    """A run and its label."""

    label: str
    run: Run


def curves_by_biographies(panels: Mapping[str, Sequence[Curve]]) -> Figure:
    """Draw attribute loss over the baseline against biographies seen, which makes batch sizes comparable.

    ``panels`` are title -> curves.
    """
    num_rows = -(-len(panels) // _COLUMNS)
    figure, grid = plt.subplots(num_rows, _COLUMNS, figsize=(3 * _COLUMNS, 2.4 * num_rows), squeeze=False, sharey=True)
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        for curve in curves:
            loss = curve.run.curve(keys.ATTRIBUTE_LOSS) / curve.run.baseline
            seen = loss.index * curve.run.batch_size / 1000
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
