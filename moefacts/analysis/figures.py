"""The figures of an analysis. Each function takes groups of runs and returns a matplotlib figure.

With one group, colours stand for cohorts and the group's phases are shaded; with several, colours stand for groups.
Thin lines are single runs (seeds), thick lines their mean.
"""

import io
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, PercentFormatter, ScalarFormatter

from moefacts.analysis.attention_figures import ATTENTION_CAPTION, attention_signatures
from moefacts.analysis.curves import color_of, draw_mean, legend_below
from moefacts.analysis.decision_figures import (
    RELIABILITY_CAPTION,
    RISK_CAPTION,
    is_probed,
    reliability_diagram,
    risk_coverage,
)
from moefacts.analysis.expert_facts import has_expert_facts
from moefacts.analysis.expert_figures import EXPERTS_CAPTION, experts
from moefacts.analysis.forgetting_figures import forgetting_figures
from moefacts.analysis.groups import Group, people_of
from moefacts.analysis.knowledge_figures import FLOOR_CAPTION, floor_and_knowledge, has_control
from moefacts.analysis.mechanism import has_mechanism
from moefacts.analysis.mechanism_arcs import arcs_caption, attention_arcs, has_arcs
from moefacts.analysis.mechanism_figures import FIGURES as MECHANISM_FIGURES
from moefacts.analysis.phase_bands import shade_phases
from moefacts.analysis.retention_figures import RETENTION_CAPTION, retention_curves
from moefacts.analysis.routing_figures import routing_figures
from moefacts.analysis.series import Panel, panels_over_steps
from moefacts.analysis.summary import fine_tuned
from moefacts.runs import keys
from moefacts.runs.durable import write_durably

if "inline" not in os.environ.get("MPLBACKEND", ""):  # a notebook shows figures itself
    matplotlib.use("Agg")
STYLE = Path(__file__).with_name("moefacts.mplstyle")


def _baseline(axes: Axes, groups: list[Group]) -> None:
    for index, baseline in enumerate(sorted({round(run.baseline, 6) for group in groups for run in group.runs})):
        axes.axhline(
            baseline, color="black", linestyle="--", linewidth=0.9, label=None if index else "no-knowledge baseline"
        )


def _readable_log_axis(axes: Axes) -> None:
    """Label 1, 2, 3 and 5 of each visible decade with plain numbers; losses below 0.001 nats are cut off."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 1e-3), high)
    axes.yaxis.set_major_locator(
        FixedLocator([m * 10.0**e for e in range(-3, 4) for m in (1, 2, 3, 5) if max(low, 1e-3) <= m * 10.0**e <= high])
    )
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _finish(axes: Axes, ylabel: str, groups: list[Group], legend: bool = True) -> None:
    axes.set_xlabel("training step")
    axes.set_ylabel(ylabel)
    axes.grid(axis="y")
    if not legend:
        return
    if len(groups) == 1:
        axes.legend()
    else:
        legend_below(axes)


def _compare(
    axes: Axes,
    groups: list[Group],
    measure: str,
    threshold: float | None,
    is_main_only: bool = False,
) -> None:
    """Draw the curves of all evaluated cohorts, or only of the one whose plateau the runs of a group follow.

    With one group, every cohort has its own colour and the phases are shaded; with several, it has its group's colour.
    """
    single = len(groups) == 1
    for index, group in enumerate(groups):
        cohorts_here = group.runs[0].cohorts[: 1 if is_main_only else None]
        for place, cohort in enumerate(cohorts_here):
            label = (
                people_of(cohort)
                if single
                else group.drawn_label + (f", {people_of(cohort)}" if len(cohorts_here) > 1 else "")
            )
            style = "-" if single or not place else ":"
            curves = [run.curve(measure, cohort) for run in group.runs]
            draw_mean(axes, curves, color_of(place if single else index), style, label, None if single else index)
    if single:
        shade_phases(axes, groups[0], threshold)


def attribute_loss(groups: list[Group], threshold: float | None = None) -> Figure:
    """Draw the attribute loss in held-out templates on a log scale, with the no-knowledge baseline."""
    figure, axes = plt.subplots()
    _compare(axes, groups, keys.ATTRIBUTE_LOSS, threshold, is_main_only=True)
    _baseline(axes, groups)
    _readable_log_axis(axes)
    _finish(axes, "attribute loss (nats)", groups)
    if len(groups) == 1:
        axes.legend(loc="lower center")  # where there are no curves and no baseline
    return figure


def attribute_accuracy(groups: list[Group], threshold: float | None = None) -> Figure:
    """Draw the share of attribute values whose every token is the model's first choice."""
    figure, axes = plt.subplots()
    _compare(axes, groups, keys.ATTRIBUTE_ACCURACY, threshold, is_main_only=len(groups) > 1)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _finish(axes, "attribute accuracy", groups)
    return figure


def seen_and_unseen_loss(groups: list[Group], threshold: float | None = None) -> Figure:
    """Draw the attribute loss on seen and on unseen people; above the baseline the model is confidently wrong."""
    figure, axes = plt.subplots()
    _compare(axes, groups, keys.ATTRIBUTE_LOSS, threshold)
    _baseline(axes, groups)
    axes.set_ylim(bottom=0)
    _finish(axes, "attribute loss (nats)", groups)
    return figure


def confidence_and_entropy(groups: list[Group], threshold: float | None = None) -> Figure:
    """Draw the largest probability and the entropy on value tokens, for seen and unseen people."""
    width, height = plt.rcParams["figure.figsize"]
    figure, panels = plt.subplots(1, 2, figsize=(1.5 * width, height))
    for axes, measure, ylabel in zip(
        panels, (keys.MAX_PROBABILITY, keys.ENTROPY), ("maximum probability", "entropy (nats)"), strict=True
    ):
        _compare(axes, groups, measure, threshold)
        axes.set_ylim(bottom=0)
        _finish(axes, ylabel, groups, legend=len(groups) == 1 or axes is panels[0])
    panels[0].set_ylim(0, 1.02)
    return figure


def loss_by_attribute(groups: list[Group], threshold: float | None = None) -> Figure:
    """Draw each attribute's loss over its own baseline; at 1 the model knows the values but not whose they are."""
    width, height = plt.rcParams["figure.figsize"]
    figure, panels = plt.subplots(
        1, len(groups), figsize=(width * (1 + 0.7 * (len(groups) - 1)), height), sharey=True, squeeze=False
    )
    for axes, group in zip(panels[0], groups, strict=True):
        for index, attribute in enumerate(group.runs[0].attributes):
            curves = [
                run.curve(keys.ATTRIBUTE_LOSS, attribute=attribute)
                / run.manifest["no_knowledge_baseline_by_attribute"][index]
                for run in group.runs
            ]
            mean = pd.concat(curves, axis=1, join="inner").mean(axis=1)
            axes.plot(mean.index, mean, color=color_of(index), label=attribute.replace("_", " "), linewidth=1.3)
        axes.axhline(1, color="black", linestyle="--", linewidth=0.9)
        if len(groups) == 1:
            shade_phases(axes, group, threshold)
        else:
            axes.set_title("\n".join(textwrap.wrap(group.drawn_label, 50)), fontsize=7)
        axes.set_ylim(0, 2)
        _finish(
            axes, "attribute loss / its baseline" if axes is panels[0][0] else "", groups[:1], axes is panels[0][-1]
        )
    return figure


# Name -> (caption, drawing function), in the order of the report
FIGURES: dict[str, tuple[str, Callable[[list[Group], float | None], Figure]]] = {
    "attribute_loss": ("Three phases: attribute loss in held-out templates, and the baseline.", attribute_loss),
    "attribute_accuracy": ("Knowledge: share of attribute values known.", attribute_accuracy),
    "seen_and_unseen_loss": ("Hallucination: loss on unseen people rises above the baseline.", seen_and_unseen_loss),
    "confidence_and_entropy": ("Confidence on seen and unseen people.", confidence_and_entropy),
    "loss_by_attribute": ("Each attribute against its own baseline.", loss_by_attribute),
}  # fmt: skip


DECISION_FIGURE = "hallucination_"  # how the names of figures of decisions begin
DrawFigure = Callable[[], Figure]


@dataclass(frozen=True)
class Drawing:
    """A figure as the report holds it: its name, caption and inline SVG, and its curves over training steps."""

    name: str
    caption: str
    svg: str
    panels: Sequence[Panel] = ()


def figures_of(groups: list[Group], threshold: float | None = None) -> dict[str, tuple[str, DrawFigure]]:
    """Name -> (caption, drawing function) of every figure that ``groups`` have what it takes for.

    Retention and routing are of the first run of each group. What draws must run in the style ``STYLE``.
    """
    several = any(len(group.runs) > 1 for group in groups)
    note = " Thin lines are single seeds, thick lines their mean." if several else ""
    found: dict[str, tuple[str, DrawFigure]] = {}
    if probed := [group for group in groups if is_probed(group)]:
        found[f"{DECISION_FIGURE}risk_coverage"] = RISK_CAPTION + note, partial(risk_coverage, probed)
        found[f"{DECISION_FIGURE}reliability"] = RELIABILITY_CAPTION, partial(reliability_diagram, probed)
    for name, (caption, draw) in FIGURES.items():
        found[name] = caption + note, partial(draw, groups, threshold)
    if measured := [group for group in groups if has_control(group)]:
        found["floor_and_knowledge"] = FLOOR_CAPTION + note, partial(floor_and_knowledge, measured, threshold)
    if tuned := fine_tuned(groups):
        found |= {name: (caption + note, draw) for name, (caption, draw) in forgetting_figures(tuned).items()}
    for number, group in enumerate(groups):
        run = group.runs[0]
        suffix, of_group = (f"_{number}", f" {group.label}.") if len(groups) > 1 else ("", "")
        if all(run.attention is not None for run in group.runs):
            draw_attention = partial(attention_signatures, group, threshold)
            found[f"attention{suffix}"] = ATTENTION_CAPTION + of_group + note, draw_attention
        if all(map(has_mechanism, group.runs)):
            for name, (caption, draw_mechanism) in MECHANISM_FIGURES.items():
                found[name + suffix] = caption + of_group + note, partial(draw_mechanism, group.runs)
        of_run = f" {group.label}, seed {run.seed}." if len(groups) > 1 else ""
        if has_arcs(run):
            found[f"mechanism_arcs{suffix}"] = arcs_caption(run) + of_run, partial(attention_arcs, run)
        if has_expert_facts(run):
            found[f"mechanism_experts{suffix}"] = EXPERTS_CAPTION + of_run, partial(experts, run)
        if run.retention is not None:
            found[f"retention{suffix}"] = RETENTION_CAPTION + of_run, partial(retention_curves, run)
        for name, (caption, draw_run) in routing_figures(run).items():
            found[name + suffix] = caption + of_run, partial(draw_run, run)
    return found


def draw_figures(groups: list[Group], folder: Path, threshold: float | None = None) -> list[Drawing]:
    """Write every figure as PNG and PDF into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.style.context(STYLE):
        return [
            save_figure(draw(), folder, name, caption)
            for name, (caption, draw) in figures_of(groups, threshold).items()
        ]


def draw_study_figures(figures: Mapping[str, tuple[str, DrawFigure]], folder: Path) -> list[Drawing]:
    """Write a study's ``figures``, name -> (caption, drawing function), as PNG, PDF and SVG into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings = []
    with plt.style.context(STYLE):
        for name, (caption, draw) in figures.items():
            drawings.append(save_figure(draw(), folder, name, caption))
            write_durably(folder / f"{name}.svg", drawings[-1].svg.encode())
    return drawings


def save_figure(figure: Figure, folder: Path, name: str, caption: str) -> Drawing:
    """Write one figure as PNG and PDF, and return it as a ``Drawing`` for the report."""
    write_durably(folder / f"{name}.png", lambda path: figure.savefig(path, format="png"))
    figure.set_layout_engine("none")  # as in the PNG: to find the layout takes longer than to draw
    write_durably(
        folder / f"{name}.pdf", lambda path: figure.savefig(path, format="pdf", metadata={"CreationDate": None})
    )
    panels = panels_over_steps(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return Drawing(name, caption, text[text.index("<svg") :], panels)
