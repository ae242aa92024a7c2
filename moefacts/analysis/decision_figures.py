"""The figures of decisions: how wrong the surest answers are, and whether confidence is the share of right ones."""

from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from moefacts.analysis.calibration import reliability
from moefacts.analysis.curves import color_of, draw_mean, legend_below
from moefacts.analysis.decisions import answers_by_cohort, curve_of, main_mixture
from moefacts.analysis.groups import Group, people_of
from moefacts.runs.reader import Run

RISK_CAPTION = (
    "Risk–coverage: the share of wrong answers among those that are given, if only the surest are; from left to right "
    "more and more of them. Dashed: the best possible order of the answers in the mixture."
)
RELIABILITY_CAPTION = (
    "Reliability: the share of right answers against the mean confidence, in 15 bins of equally many answers. On the "
    "diagonal, the model is right as often as it says; below it, it is surer than right."
)
_GRID = np.arange(1, 201) / 200


def is_probed(group: Group) -> bool:
    """Whether the decisions of every run of ``group`` have been probed, about the same cohorts."""
    return len({tuple(answers_by_cohort(run)) for run in group.runs}) == 1 and group.runs[0].decisions is not None


def _drawn(group: Group, is_single: bool) -> list[str]:
    """What is drawn of a group: the shown cohort, the unseen ones and the mixture; of several groups, it only."""
    run = group.runs[0]
    shown, mixture, available = run.shown_cohort, _mixture(run), answers_by_cohort(run)
    names = [shown, *run.unseen_cohorts, mixture] if is_single else [mixture or shown]
    return [name for name in names if name in available] or list(available)[:1]


def risk_coverage(groups: list[Group]) -> Figure:
    """Draw risk over coverage of probed groups: of one, by cohort and mixed; of several, of the mixtures."""
    figure, axes = plt.subplots()
    for place, group, name, label in _lines(groups):
        curves, best = [], []
        for run in group.runs:
            curve = curve_of(answers_by_cohort(run)[name])
            curves.append(pd.Series(np.interp(_GRID, curve.coverage_K, curve.risk_K), _GRID))
            best.append(np.interp(_GRID, curve.coverage_K, curve.perfect_risk_K))
        color = color_of(place)
        draw_mean(axes, curves, color, "-", label, place)
        if name == _mixture(group.runs[0]):
            in_best_order = "the same in the best order" if len(groups) == 1 else None
            axes.plot(_GRID, np.mean(best, axis=0), color=color, linestyle="--", linewidth=0.9, label=in_best_order)
    axes.set_xlabel("coverage: share of answers given")
    axes.set_ylabel("risk: share of them wrong")
    _finish(axes, groups, "center left")
    return figure


def reliability_diagram(groups: list[Group]) -> Figure:
    """Draw accuracy over confidence of probed groups, with the answers of all their runs together."""
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=0.9)
    for place, group, name, label in _lines(groups):
        answers = pd.concat([answers_by_cohort(run)[name] for run in group.runs])
        bins = reliability(answers["confidence"].to_numpy(), answers["right"].to_numpy(), equal_mass=True)
        axes.plot(bins["confidence"], bins["accuracy"], color=color_of(place), marker="o", markersize=3, label=label)
    axes.set_xlabel("confidence: probability of the answer")
    axes.set_ylabel("share of answers right")
    _finish(axes, groups, "upper left")
    return figure


def _lines(groups: list[Group]) -> list[tuple[int, Group, str, str]]:
    """The number, the group, the cohort and the label of every line."""
    if len(groups) == 1:
        names, mixture = _drawn(groups[0], True), _mixture(groups[0].runs[0])
        labels = [name if name == mixture else people_of(name) for name in names]
        return [(place, groups[0], *pair) for place, pair in enumerate(zip(names, labels, strict=True))]
    return [
        (place, group, name, f"{group.drawn_label}, {name}")
        for place, group in enumerate(groups)
        for name in _drawn(group, False)
    ]


def _mixture(run: Run) -> str | None:
    return main_mixture(run.shown_cohort, run.unseen_cohorts)


def _finish(axes: Axes, groups: list[Group], legend: Literal["center left", "upper left"]) -> None:
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid()
    if len(groups) == 1:
        axes.legend(loc=legend)
    else:
        legend_below(axes)
