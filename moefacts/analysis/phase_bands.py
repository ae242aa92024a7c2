"""Shaded bands that mark the three phases behind the curves of one group of runs."""

from matplotlib.axes import Axes

from moefacts.analysis.groups import Group
from moefacts.analysis.phases import phase_measures
from moefacts.analysis.summary import estimate

_PHASES = (
    ("statistics", "#f2f2f2"),
    ("plateau", "#ffe9c7"),
    ("knowledge emerges", "#dcefe6"),
)


def shade_phases(axes: Axes, group: Group, threshold: float | None) -> None:
    """Shade the three phases of a group and name them along the top."""
    measured = [phase_measures(run, threshold) for run in group.runs]
    start, end = (estimate([run[key] for run in measured]) for key in ("plateau_start", "plateau_end_interpolated"))
    last = max(run.evaluations.index[-1] for run in group.runs)
    bounds = [0.0, start.mean if start else last, end.mean if start and end else last, last]
    axes.set_xlim(0, last)
    for (name, color), left, right in zip(_PHASES, bounds[:-1], bounds[1:], strict=True):
        if right > left:
            axes.axvspan(left, right, color=color, zorder=0, linewidth=0)
            place = {"x": (left + right) / 2, "transform": axes.get_xaxis_transform(), "ha": "center", "fontsize": 6.5}
            if right - left > 0.18 * last:
                axes.text(y=1.02, s=name, **place)
            else:  # a narrow phase is named along its band
                box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.8}
                axes.text(y=0.03, s=name, va="bottom", rotation=90, color="#444444", zorder=5, bbox=box, **place)
