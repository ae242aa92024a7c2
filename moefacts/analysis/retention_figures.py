"""Figure of retention: knowledge of persons against the steps since they were last shown, checkpoint by checkpoint."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from moefacts.analysis.fading import NOT_FORGETTING, fading, settling_steps
from moefacts.analysis.retention import person_table, two_way_table
from moefacts.runs.reader import Run

RETENTION_CAPTION = (
    "Retention: knowledge of persons in held-out templates against the steps since training last showed them, for "
    "people shown about equally often (bars: 95% over people). Lines: the fit of exp(−steps / τ), with a floor where "
    "one is needed, drawn where its time scale τ can be told. What the newest steps showed has yet to take effect. "
    + NOT_FORGETTING
)
_NORMAL_95 = 1.96
_COLUMNS = 3


def retention_curves(run: Run) -> Figure:
    """Draw one panel per probed checkpoint of ``run``, and one colour per range of times shown."""
    table = person_table(run)
    assert table is not None
    groups = list(table.groupby("step"))
    num_rows, num_columns = -(-len(groups) // _COLUMNS), min(_COLUMNS, len(groups))
    width, height = plt.rcParams["figure.figsize"]
    size = (0.7 * width * num_columns, 0.95 * height * num_rows)
    figure, grid = plt.subplots(num_rows, num_columns, figsize=size, squeeze=False)
    colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for axes in grid.flat[len(groups) :]:
        axes.axis("off")
    for axes, (step, people) in zip(grid.flat, groups, strict=False):
        cells, fit = two_way_table(people), fading(people, settling_steps(run))
        shown = cells[cells["shown_high"] > 0]
        for number, ((low, high), line) in enumerate(shown.groupby(["shown_low", "shown_high"])):
            label = f"shown {low} times" if low == high else f"shown {low}–{high} times"
            bars = {"yerr": _NORMAL_95 * line["standard_error"], "elinewidth": 0.7, "markersize": 3}
            axes.errorbar(line["since"], line["knowledge"], color=colors[number], fmt="o", label=label, **bars)
            if fit.is_known:
                since = np.linspace(settling_steps(run), shown["since"].max(), 100)
                fitted = fit.floor_G[number] + fit.amplitude_G[number] * np.exp(-since / fit.time_scale)
                axes.plot(since, fitted, color=colors[number], linewidth=1)
        for never in cells.loc[cells["shown_high"] == 0, "knowledge"]:
            axes.axhline(never, color="black", linestyle=":", linewidth=1, label="not shown yet")
        axes.set_title(f"step {step:,}, τ: {fit.text()}{', above a floor' if fit.has_floor else ''}", fontsize=8)
        axes.set_xlabel("steps since last shown")
        axes.grid(axis="y")
        axes.margins(y=0.15)
        axes.legend(fontsize=6)
    for axes in grid[:, 0]:
        axes.set_ylabel("knowledge (baselines)")
    return figure
