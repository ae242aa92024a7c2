"""Figures of fine-tuning: old and new accuracy over steps, one against the other, and confidence in wrong answers.

With one group, colours stand for cohorts; with several, for groups, and then the first old cohort alone is drawn.
"""

from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, ScalarFormatter

from moefacts.analysis.curves import color_of, draw_mean, legend_below, marker_of
from moefacts.analysis.forgetting import LEVELS, old_and_new_accuracy, trough_of
from moefacts.analysis.groups import Group, people_of
from moefacts.runs import keys, tables
from moefacts.runs.reader import Run

_NUM_COLORS = 6  # without black, in which learned people are drawn
_INTERPOLATION = "interpolation"  # its method in the table of corrections


def forgetting_figures(groups: list[Group]) -> dict[str, tuple[str, Callable[[], Figure]]]:
    """Name -> (caption, drawing function) of the fine-tuned ``groups``, all of which have an old cohort."""
    figures: dict[str, tuple[str, Callable[[], Figure]]] = {
        "forgetting_over_steps": (
            "Accuracy on old and on learned people over the steps of fine-tuning (linear up to step 1, then "
            "logarithmic). Circles: the trough of old accuracy.",
            lambda: over_steps(groups),
        ),
        "forgetting_old_against_new": (
            "Old accuracy against new accuracy, from the start of fine-tuning (square) to its end. Dashed: weights "
            "interpolated between the two, where they were probed. Dotted: 50, 90 and 99% of new values known.",
            lambda: old_against_new(groups),
        ),
    }
    if all(run.probed(tables.WRONG_ANSWERS) is not None for group in groups for run in group.runs):
        figures["forgetting_confidence"] = (
            "Confidence in wrong answers (solid) and in right ones (dotted), each that of a whole value.",
            lambda: confidence(groups),
        )
    return figures


def over_steps(groups: list[Group]) -> Figure:
    """Draw accuracy on old and learned people over steps."""
    figure, axes = plt.subplots()
    for place, (group, cohort, color, label) in enumerate(_old(groups)):
        curves = [run.curve(keys.ATTRIBUTE_ACCURACY, cohort) for run in group.runs]
        draw_mean(axes, curves, color, "-", label, place)
        for run, curve in zip(group.runs, curves, strict=True):
            if (index := trough_of(run, cohort).index) is not None:
                axes.plot(curve.index[index], curve.iloc[index], "o", color=color, markersize=3.5, fillstyle="none")
    for index, group in enumerate(groups):
        learned = [run.curve(keys.ATTRIBUTE_ACCURACY, run.learned_cohort) for run in group.runs]
        single = len(groups) == 1
        name = f"{people_of(group.runs[0].learned_cohort)}, learned" if single else None
        draw_mean(axes, learned, "black" if single else _color(index), "--", name)
    if len(groups) > 1:
        axes.plot([], [], color="black", linestyle="--", label="learned people")
    _step_axis(axes, groups)
    _accuracy(axes.yaxis.set_major_formatter, axes.set_ylim)
    axes.set_ylabel("attribute accuracy")
    _finish(axes, groups)
    return figure


def old_against_new(groups: list[Group]) -> Figure:
    """Draw old accuracy against new accuracy, and where it was probed, that of interpolated weights."""
    figure, axes = plt.subplots()
    for level in LEVELS:
        axes.axvline(level / 100, color="#888888", linestyle=":", linewidth=0.8)
    for place, (group, cohort, color, label) in enumerate(_old(groups)):
        paths = [old_and_new_accuracy(run, cohort) for run in group.runs]
        for path in paths if len(paths) > 1 else []:
            axes.plot(path["learned"], path["old"], color=color, linewidth=0.7, alpha=0.45)
        old, new = (
            pd.concat([path[x] for path in paths], axis=1, join="inner").mean(axis=1) for x in ("old", "learned")
        )
        axes.plot(new, old, color=color, label=label, marker=marker_of(place), markersize=2.5)
        axes.plot(new.iloc[0], old.iloc[0], marker_of(place), color=color, markersize=5.5, fillstyle="none")
        corrected = group.runs[0].probed(tables.CORRECTED)
        if corrected is not None:
            line = corrected[(corrected["method"] == _INTERPOLATION) & (corrected["step"] == corrected["step"].max())]
            wide = line.pivot(index="amount", columns="cohort", values=keys.ATTRIBUTE_ACCURACY)
            axes.plot(wide[group.runs[0].learned_cohort], wide[cohort], color=color, linestyle="--", linewidth=1)
    _accuracy(axes.yaxis.set_major_formatter, axes.set_ylim)
    _accuracy(axes.xaxis.set_major_formatter, axes.set_xlim)
    axes.set_xlabel("accuracy on learned people")
    axes.set_ylabel("accuracy on old people")
    _finish(axes, groups)
    return figure


def confidence(groups: list[Group]) -> Figure:
    """Draw the mean confidence in wrong and in right answers of old people."""
    figure, axes = plt.subplots()
    for place, (group, cohort, color, label) in enumerate(_old(groups)):
        for column, style in (("confidence_wrong", "-"), ("confidence_right", ":")):
            curves = [_wrong_answers(run, cohort)[column] for run in group.runs]
            draw_mean(axes, curves, color, style, label if style == "-" else None, place)
    _step_axis(axes, groups)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("confidence in the whole value")
    _finish(axes, groups)
    return figure


def _wrong_answers(run: Run, cohort: str) -> pd.DataFrame:
    table = run.probed(tables.WRONG_ANSWERS)
    assert table is not None
    return table[table["cohort"] == cohort].set_index("step")


def _old(groups: list[Group]) -> Iterator[tuple[Group, str, str, str]]:
    """The curves of old people: group, cohort, colour and label."""
    if len(groups) == 1:
        for index, cohort in enumerate(groups[0].runs[0].known_before):
            yield groups[0], cohort, _color(index), f"{people_of(cohort)}, old"
    else:
        for index, group in enumerate(groups):
            yield group, group.runs[0].known_before[0], _color(index), group.drawn_label


def _color(index: int) -> str:
    return color_of(index % _NUM_COLORS)


def _step_axis(axes: Axes, groups: list[Group]) -> None:
    """A step axis that is linear from 0 to 1 and logarithmic beyond, with plain numbers."""
    last = max(int(run.evaluations.index[-1]) for group in groups for run in group.runs)
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.set_xlim(0, 1.1 * last)
    ticks = [0] + [m * 10**e for e in range(9) for m in (1, 2, 5)]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick <= 1.1 * last]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("step of fine-tuning")


def _accuracy(set_formatter: Callable, set_limits: Callable) -> None:
    set_limits(0, 1.02)
    set_formatter(PercentFormatter(1))


def _finish(axes: Axes, groups: list[Group]) -> None:
    axes.grid(axis="y")
    if len(groups) == 1:
        axes.legend()
    else:
        legend_below(axes)
