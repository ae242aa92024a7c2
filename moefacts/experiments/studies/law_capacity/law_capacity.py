"""What sets the exponent of the plateau law: width, total parameters, or how long people are remembered?

The paper does not ask this. Its law has one exponent; ours seems lower in wider models and rises with the number of
people. If what is learned of a person fades within τ steps by interference, those who return after N / B > τ steps must
be learned anew, and the exponent exceeds 1 there. If facts per parameter decide, width and kind of model do not matter
beyond the number of parameters.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from moefacts.analysis.figures import DrawFigure
from moefacts.analysis.scaling_law import Point, PowerLaw, fit_power_law
from moefacts.analysis.study_report import Table
from moefacts.experiments.engine.study import Findings, FinishedRun, Study
from moefacts.experiments.studies.law_capacity.claims import CLAIMS
from moefacts.experiments.studies.law_capacity.grid import ARMS, SCALE, grid
from moefacts.experiments.studies.law_capacity.law_capacity_figures import (
    encounters_figure,
    exponents_figure,
    retention_figure,
)
from moefacts.experiments.studies.law_capacity.points import ArmPoint, Evidence, evidence_of

_RATES = {arm.name: arm.rate for arm in ARMS}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Find plateau ends, retention times and exponents of every arm."""
    evidence = evidence_of(runs)
    laws = {arm: _law(evidence, arm) for arm in evidence.arms}
    values = {
        "laws": {arm: law and {part: getattr(law, part) for part in _PARTS} for arm, law in laws.items()},
        "points": [_point_values(point) for point in evidence.points],
        "exponents": _exponent_values(evidence),
    }
    return Findings(values, [_laws_table(evidence, laws), _points_table(evidence)], _figures(evidence), evidence)


_PARTS = ("a", "b", "bend", "a_interval", "b_interval", "bend_interval")


def _law(evidence: Evidence, arm: str) -> PowerLaw | None:
    points = [
        Point(point.size, point.at.ends, point.at.errors, point.at.seeds)
        for point in evidence.of(arm)
        if not point.left_out
    ]
    return fit_power_law(points) if len(points) >= 3 else None


def _point_values(point: ArmPoint) -> dict[str, Any]:
    return {
        "arm": point.arm,
        "size": point.size,
        "learning_rate": _RATES[point.arm],
        "parameters_total": point.total,
        "bits_per_parameter": point.at.bits_per_parameter,
        "plateau_ends": point.end_of,
        "retention_times": point.time_scale_of,
        "retention_untold_because": point.untold,
        "revisit_interval": point.revisit,
        "revisit_over_retention": float(np.exp(point.log_overdue)) if point.has_retention else None,
        "left_out_because": point.left_out,
    }


def _exponent_values(evidence: Evidence) -> list[dict[str, Any]]:
    return [
        {
            "arm": step.low.arm,
            "sizes": (step.low.size, step.high.size),
            "exponent": step.exponent,
            "half_interval": evidence.exponent_half(step),
            "bits_per_parameter": float(np.exp(step.log_bits)),
            "revisit_over_retention": float(np.exp(step.log_overdue)) if step.has_retention else None,
        }
        for step in evidence.steps
    ]


def _laws_table(evidence: Evidence, laws: dict[str, PowerLaw | None]) -> Table:
    rows = []
    for arm, law in laws.items():
        points = evidence.of(arm)
        bits = [point.at.bits_per_parameter for point in points]
        row = [arm, f"{_RATES[arm]:g}", f"{points[0].total:,}", f"{min(bits):.2g} to {max(bits):.2g}"]
        if law is None:
            row += ["–", "–"]
        else:
            row += [
                f"{law.b:.3f} [{law.b_interval[0]:.3f}, {law.b_interval[1]:.3f}]",
                f"{law.bend:+.3f} [{law.bend_interval[0]:+.3f}, {law.bend_interval[1]:+.3f}]",
            ]
        rows.append(row)
    columns = ["arm", "learning rate", "total parameters", "facts (bits per total parameter)", "exponent", "bend"]
    note = (
        "Fits of a·N^b to the sizes that claims use, with 95% intervals (bootstrap over seeds). The bend is the "
        "change of the exponent with every doubling of the people. 32 experts have as many active parameters as the "
        "dense model of their width, small ones as many total parameters."
    )
    return Table("Exponent of the law by width and kind of model", columns, rows, note)


def _points_table(evidence: Evidence) -> Table:
    before = {id(step.high): step for step in evidence.steps}
    rows = []
    for point in evidence.points:
        step = before.get(id(point))
        exponent = "–" if step is None else f"{step.exponent:.2f} ± {evidence.exponent_half(step):.2f}"
        rows.append(
            [
                point.arm,
                f"{point.size:,}",
                f"{point.at.bits_per_parameter:.3g}",
                ", ".join(f"{end:,.0f}" for end in point.at.ends) or "–",
                f"{np.exp(point.log_end) / point.revisit:.1f}" if point.at.ends else "–",
                exponent,
                ", ".join(f"{scale:.3g}" for scale in point.time_scale_of.values()) or "–",
                f"{point.revisit:g}",
                f"{np.exp(point.log_overdue):.2f}" if point.has_retention else "–",
                point.left_out or "used",
            ]
        )
    columns = ["arm", "people", "bits per total parameter", "plateau end, each seed (steps)", "biographies per person"]
    columns += ["exponent from the size before", "τ, each seed (steps)", "N/B (steps)", "N/B over τ", "in the claims"]
    note = (
        "τ is the time scale on which knowledge of persons fades at the plateau's end. It is fitted to people shown "
        "up to a few N/B steps ago: if knowledge fades at first fast and then slowly, τ grows with N for that reason. "
        "N/B over τ is given where τ can be told in every seed. Exponents have 95% intervals, one by one, from the "
        "scatter of all arms' seeds."
    )
    return Table("Plateau ends and retention times", columns, rows, note)


def _figures(evidence: Evidence) -> dict[str, tuple[str, DrawFigure]]:
    figures: dict[str, tuple[str, DrawFigure]] = {}
    if evidence.steps:
        figures["exponents"] = (
            "Exponents between neighbouring sizes, against facts per total parameter and against the revisit interval "
            "over the retention time. Bars: 95% intervals. If one of the two sets the exponent, all arms lie on one "
            "curve there.",
            partial(exponents_figure, evidence),
        )
    if any(point.time_scale_of for point in evidence.points):
        figures["retention"] = (
            "The retention time at the plateau's end. Dots are single seeds, marks their geometric means. Right: dense "
            "models, with filled marks for rates that are scaled as 1/width and open ones for one rate; the numbers "
            "are people.",
            partial(retention_figure, evidence),
        )
    if any(point.at.ends for point in evidence.points):
        figures["encounters"] = (
            "Biographies per person until the plateau ends, and exponents, against people.",
            partial(encounters_figure, evidence),
        )
    return figures


STUDY = Study(
    name="law-capacity",
    title="What sets the exponent of the plateau law: width, total parameters, or retention?",
    figure="not in the paper",
    grids={SCALE: grid()},
    claims={SCALE: CLAIMS},
    examine=examine,
    probes=("retention_at_end",),
)
