"""The figure of the plateau's floor and of knowledge: losses on true and on permuted values, and their difference."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from moefacts.analysis.curves import color_of, draw_mean, legend_below
from moefacts.analysis.groups import Group
from moefacts.analysis.knowledge import LEVEL, knowledge_curve
from moefacts.analysis.phase_bands import shade_phases
from moefacts.analysis.phases import phase_measures
from moefacts.runs import keys

FLOOR_CAPTION = (
    "The plateau's floor and knowledge. Above: the loss, and that on the same biographies with permuted values, which "
    "knowledge of persons cannot lower. Below: knowledge, their difference over the baseline; the dotted line is 0.05."
)
_TOP = 2.5  # losses are drawn up to this many baselines, because those of the first steps would hide the plateau


def has_control(group: Group) -> bool:
    """Whether every run of ``group`` recorded its control loss."""
    return all(run.has_curve(keys.CONTROL_LOSS) for run in group.runs)


def floor_and_knowledge(groups: list[Group], threshold: float | None = None) -> Figure:
    """Draw losses and knowledge of ``groups``, all of which have a control loss: solid is the loss, dotted the control.

    With one group, the two losses have a colour each; with several, each group has one.
    """
    width, height = plt.rcParams["figure.figsize"]
    figure, (above, below) = plt.subplots(2, 1, figsize=(1.2 * width, 1.8 * height), sharex=True)
    single = len(groups) == 1
    for index, group in enumerate(groups):
        color, control_color = color_of(index), color_of(1 if single else index)
        starts = [phase_measures(run, threshold)["plateau_start"] for run in group.runs]
        curves = [knowledge_curve(run, start) for run, start in zip(group.runs, starts, strict=True)]
        controls = [run.curve(keys.CONTROL_LOSS) for run in group.runs]
        label = "true values" if single else group.drawn_label
        place = None if single else index
        draw_mean(above, [run.curve(keys.ATTRIBUTE_LOSS) for run in group.runs], color, "-", label, place)
        style, name = ("-.", "permuted values") if single else (":", None)
        draw_mean(above, controls, control_color, style, name, place)
        draw_mean(below, [curve["knowledge"] for curve in curves if curve is not None], color, "-", place=place)
    if not single:
        above.plot([], [], color="black", linestyle=":", label="permuted values")
    for baseline in sorted({round(run.baseline, 6) for group in groups for run in group.runs}):
        above.axhline(baseline, color="black", linestyle="--", linewidth=0.9, label="no-knowledge baseline")
    above.set_ylim(0, _TOP * max(run.baseline for group in groups for run in group.runs))
    above.set_ylabel("attribute loss (nats)")
    below.axhline(LEVEL, color="black", linestyle=":", linewidth=0.9)
    below.set_ylabel("knowledge (baselines)")
    below.set_xlabel("training step")
    for axes in (above, below):
        axes.grid(axis="y")
        if single:
            shade_phases(axes, groups[0], threshold)
    if single:
        above.legend()
    else:
        legend_below(above)
    return figure
