"""How much less is known of people shown longer ago where each plateau ends, beside how often people are shown.

This is not how fast they are forgotten (``analysis.fading.NOT_FORGETTING``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from moefacts.analysis.fading import NOT_FORGETTING, Fading
from moefacts.analysis.retention_at_end import retention_at_end, why_untold
from moefacts.analysis.summary import SHOWN_WITH_INTERVAL, estimate
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.plateau_law.plateau_law_figures import log_axis, people_axis

CAPTION = (
    "How much less is known of people shown longer ago where the plateau ends, as a time scale τ (dots: runs, with 95% "
    "intervals over people; bars: geometric means), and the mean number of steps from one biography of a person to the "
    f"next. {NOT_FORGETTING}"
)
_COLOR, _INTERVAL = "#0072B2", "#D55E00"


@dataclass(frozen=True)
class RetentionPoint:
    """The runs of one population size.

    Attributes:
        size: the number of people.
        revisit_interval: the mean number of steps between two biographies of a person.
        seeds: the seeds of the runs.
        fits: how much less is known of people shown longer ago at the end of each run's plateau; None if there is
            nothing to fit.
        whys: why the time scale of each cannot be told; empty if it can.
    """

    size: int
    revisit_interval: float
    seeds: tuple[int, ...]
    fits: tuple[Fading | None, ...]
    whys: tuple[str, ...]

    @property
    def known(self) -> list[Fading]:
        """The fits whose time scale can be told."""
        return [fit for fit in self.fits if fit is not None and fit.is_known]

    @property
    def time_scales(self) -> list[float]:
        """The time scales that can be told, in steps."""
        return [fit.time_scale for fit in self.known if fit.time_scale is not None]

    @property
    def mean(self) -> float | None:
        """The geometric mean of the time scales that can be told; None without any."""
        return float(stats.gmean(self.time_scales)) if self.time_scales else None


def retention_point(size: int, runs: Sequence[FinishedRun]) -> RetentionPoint | None:
    """The point of one size, or None if none of its runs has been probed."""
    if all(run.record.retention_at_end is None for run in runs):
        return None
    fits = tuple(retention_at_end(run.record) for run in runs)
    whys = tuple(why_untold(run.record, fit) for run, fit in zip(runs, fits, strict=True))
    return RetentionPoint(size, size / runs[0].record.batch_size, tuple(run.seed for run in runs), fits, whys)


def retention_table(points: Sequence[RetentionPoint]) -> Table:
    """Every size with its time scales and the interval at which its people are shown."""
    rows = []
    for point in points:
        logs = estimate([float(np.log(one)) for one in point.time_scales])
        over = "–" if logs is None else f"{np.exp(logs.mean):.3g}"
        if logs is not None and logs.low is not None and logs.high is not None and logs.count >= SHOWN_WITH_INTERVAL:
            over += f" [{np.exp(logs.low):.3g}, {np.exp(logs.high):.3g}]"
        rows.append(
            [
                f"{point.size:,}",
                f"{point.revisit_interval:.0f}",
                ", ".join("–" if fit is None or not fit.is_known else fit.text() for fit in point.fits),
                over,
                "–" if point.mean is None else f"{point.mean / point.revisit_interval:.2f}",
                "; ".join(f"seed {seed}: {why}" for seed, why in zip(point.seeds, point.whys, strict=True) if why)
                or "–",
            ]
        )
    columns = ["people", "revisit interval N/B (steps)", "time scale τ, each seed (steps) [95% over people]"]
    columns += ["mean over seeds [95%]", "τ in revisit intervals", "cannot tell"]
    note = (
        "At the checkpoint of the plateau's end, knowledge of persons is fitted by exp(−steps since last shown / τ), "
        f"with one amplitude per range of times shown and no floor. Means are geometric. {NOT_FORGETTING} No claim is "
        "about τ."
    )
    return Table("Knowledge by steps since last shown, at the plateau's end", columns, rows, note)


def retention_values(points: Sequence[RetentionPoint]) -> list[dict[str, Any]]:
    """The numbers of every size."""
    return [
        {
            "size": point.size,
            "revisit_interval": point.revisit_interval,
            "mean_time_scale": point.mean,
            "runs": [
                {"seed": seed, "time_scale": fit and fit.time_scale, "low": fit and fit.low, "high": fit and fit.high}
                | {"p_value": fit and fit.p_value, "untold_because": why}
                for seed, fit, why in zip(point.seeds, point.fits, point.whys, strict=True)
            ],
        }
        for point in points
    ]


def retention_figure(points: Sequence[RetentionPoint]) -> Figure:
    """Draw the time scales of all runs, and the mean steps between two biographies of a person, against people."""
    figure, axes = plt.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    label: str | None = "time scale τ at the plateau's end"
    for point in points:
        if point.mean is None:
            continue
        for place, fit in enumerate(point.known):
            assert fit.time_scale is not None
            assert fit.low is not None
            assert fit.high is not None
            x = point.size * 1.06 ** (place - (len(point.known) - 1) / 2)  # side by side
            bars = [[max(0.0, fit.time_scale - fit.low)], [max(0.0, fit.high - fit.time_scale)]]
            axes.errorbar(x, fit.time_scale, yerr=bars, fmt="o", color=_COLOR, markersize=3, elinewidth=0.8)
        axes.plot(point.size, point.mean, "_", color=_COLOR, markersize=16, markeredgewidth=1.6, label=label)
        label = None
    sizes = [point.size for point in points]
    intervals = [point.revisit_interval for point in points]
    axes.plot(sizes, intervals, color=_INTERVAL, linestyle="--", linewidth=1.2, label="revisit interval N/B")
    axes.set_ylabel("steps")
    people_axis(axes, sizes)
    log_axis(axes.yaxis, *axes.get_ylim())
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
