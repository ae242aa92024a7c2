"""Figures of the plateau-length law."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from scipy import stats

from moefacts.analysis.scaling_law import PowerLaw
from moefacts.experiments.studies.plateau_law import published

_INSIDE, _OUTSIDE, _PUBLISHED = "#0072B2", "#999999", "#D55E00"


@dataclass(frozen=True)
class SizePoint:
    """The runs of one population size.

    Attributes:
        size: number of people.
        ends: plateau ends of the runs that have one, in steps.
        errors: standard errors of the ends, from the noise of the evaluations.
        lengths: plateau lengths, in steps.
        batch_size: biographies per step.
        is_determined: whether the plateau's end is determined in every run.
        inside: whether the law is fitted to this size.
        why: why the law is not fitted to this size; empty when it is.
        bits_per_parameter: information in the values of all people, per parameter of the model.
        seeds: the seeds of ``ends``.
        rate_sums: the sum of the learning rates of all steps until each end.
    """

    size: int
    ends: tuple[float, ...]
    errors: tuple[float, ...]
    lengths: tuple[float, ...]
    batch_size: int
    is_determined: bool
    inside: bool
    why: str
    bits_per_parameter: float
    seeds: tuple[int, ...]
    rate_sums: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """The geometric mean of the plateau ends, in steps."""
        return float(stats.gmean(self.ends))


def law_figure(points: Sequence[SizePoint], law: PowerLaw | None) -> Figure:
    """Draw the plateau end in steps against people, the fit with its interval, and the study's law.

    The study's steps have more biographies. They are drawn as the number of our steps with as many biographies.
    """
    batch = points[0].batch_size
    study = (
        lambda sizes: published.steps(sizes) * published.BATCH_SIZE / batch,
        f"study, {published.TEXT_IN_MATH} in its steps of {published.BATCH_SIZE}",
    )
    return _figure(points, law, lambda steps, size: steps, f"plateau end (steps of {batch})", study)


def encounters_figure(points: Sequence[SizePoint], law: PowerLaw | None) -> Figure:
    """Draw the number of biographies per person until the plateau ends, against people."""
    batch = points[0].batch_size
    study = (
        lambda sizes: published.steps(sizes) * published.BATCH_SIZE / sizes,
        f"study: {published.TEXT_IN_MATH} steps of {published.BATCH_SIZE}",
    )
    return _figure(points, law, lambda steps, size: steps * batch / size, "biographies per person", study)


def rate_sums_figure(points: Sequence[SizePoint]) -> Figure:
    """Draw the sum of the learning rates of all steps until the plateau ends, against people."""
    sums = [replace(point, ends=point.rate_sums) for point in points]
    study = (published.rate_sums, f"study: {published.TEXT_IN_MATH} steps of its cosine")
    return _figure(sums, None, lambda steps, size: steps, "sum of learning rates", study)


def lengths_figure(points: Sequence[SizePoint], law: PowerLaw) -> Figure:
    """Draw the steps from the plateau's start to its end, and ``law``, the fit to the lengths of all ``points``."""
    lengths = [replace(point, ends=point.lengths, inside=True) for point in points]
    return _figure(lengths, law, lambda steps, size: steps, f"plateau length (steps of {points[0].batch_size})")


def residuals_figure(points: Sequence[SizePoint], law: PowerLaw) -> Figure:
    """Draw how far every run's plateau end deviates from the law, at sizes inside and outside the fit."""
    figure, axes = plt.subplots()
    axes.axhline(0, color="black", linewidth=0.9)
    for point in points:
        if point.ends:
            color = _INSIDE if point.inside else _OUTSIDE
            percent = 100 * (np.array(point.ends) / law.at(point.size) - 1)
            axes.plot([point.size] * len(percent), percent, "o", color=color, markersize=4, alpha=0.8)
            axes.plot(point.size, 100 * (point.mean / law.at(point.size) - 1), "_", color=color, markersize=14)
    axes.set_ylabel("plateau end over the law (%)")
    people_axis(axes, [point.size for point in points])
    axes.grid(axis="y")
    return figure


# Values of the study at some sizes, and how to call them
_Study = tuple[Callable[[np.ndarray], np.ndarray], str]


def _figure(
    points: Sequence[SizePoint], law: PowerLaw | None, unit: Callable, label: str, study: _Study | None = None
) -> Figure:
    figure, axes = plt.subplots()
    _draw(axes, points, law, unit, study)
    axes.set_ylabel(label)
    log_axis(axes.yaxis, *axes.get_ylim())
    axes.legend()
    return figure


def _draw(axes: Axes, points: Sequence[SizePoint], law: PowerLaw | None, unit: Callable, study: _Study | None) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for is_inside, color, label in ((True, _INSIDE, "measured"), (False, _OUTSIDE, "measured, outside the law")):
        text: str | None = label
        for point in (p for p in points if p.inside is is_inside and p.ends):
            values = [unit(end, point.size) for end in point.ends]
            axes.plot([point.size] * len(values), values, "o", color=color, markersize=3, alpha=0.5)
            mean = unit(point.mean, point.size)
            axes.plot(point.size, mean, "_", color=color, markersize=12, markeredgewidth=1.6, label=text)
            text = None
    sizes = np.array([point.size for point in points], float)
    if law is not None:
        inside = [point.size for point in points if point.inside]
        low, high = law.interval_at(sizes)
        axes.fill_between(sizes, unit(low, sizes), unit(high, sizes), color=_INSIDE, alpha=0.15, linewidth=0)
        label = f"{law.a:.2g}·N$^{{{law.b:.2f}}}$, R² {law.r_squared:.3f}"
        fitted = sizes[(sizes >= min(inside)) & (sizes <= max(inside))]
        axes.plot(fitted, unit(law.at(fitted), fitted), color=_INSIDE, linewidth=1.3, label=label)
        axes.plot(sizes, unit(law.at(sizes), sizes), color=_INSIDE, linewidth=0.8, linestyle=":")
    if study is not None:
        values_at, label = study
        axes.plot(sizes, values_at(sizes), color=_PUBLISHED, linestyle="--", linewidth=1, label=label)
    people_axis(axes, [point.size for point in points])
    axes.grid(axis="y")


def people_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """Make the x axis that of population sizes, logarithmic, with a label at each."""
    axes.set_xscale("log")
    axes.set_xlabel("people")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    in_thousands = all(size % 1000 == 0 for size in sizes)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:,.0f}k" if in_thousands else f"{x:,.0f}"))


def log_axis(axis, low: float, high: float) -> None:
    """Label 1, 2 and 5 of each visible decade with plain numbers, or more numbers if that gives fewer than three.

    Where labels stand beside each other over more than two decades, 1 and 3 are labelled.
    """
    long = axis.axis_name == "x" and high / low > 100
    for multiples in (
        (1, 3) if long else (1, 2, 5),
        (1, 1.5, 2, 3, 4, 5, 7),
        (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9),
    ):
        ticks = [m * 10.0**e for e in range(-3, 7) for m in multiples if low <= m * 10.0**e <= high]
        if len(ticks) >= 3:
            break
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axis.set_minor_formatter(NullFormatter())
