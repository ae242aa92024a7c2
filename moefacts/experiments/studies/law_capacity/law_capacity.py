"""What sets the exponent of the plateau law: width, total parameters, or active parameters?

The paper does not ask this. Its law has one exponent; ours seems lower in wider models and rises with the number of
people. If facts per parameter decide, width and kind of model do not matter beyond the number of parameters, of which
mixtures have more in total than one token meets.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from moefacts.analysis.figures import DrawFigure
from moefacts.analysis.scaling_law import Point, PowerLaw, fit_power_law
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import Findings, FinishedRun, Study
from moefacts.experiments.studies.law_capacity.claims import CLAIMS
from moefacts.experiments.studies.law_capacity.grid import ARMS, SCALE, grid
from moefacts.experiments.studies.law_capacity.law_capacity_figures import encounters_figure, exponents_figure
from moefacts.experiments.studies.law_capacity.points import ArmPoint, Evidence, evidence_of

_RATES = {arm.name: arm.rate for arm in ARMS}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Find plateau ends and exponents of every arm."""
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
        "parameters_active": point.active,
        "bits_per_parameter": point.at.bits_per_parameter,
        "bits_per_active_parameter": point.bits_per_active,
        "plateau_ends": point.end_of,
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
            "bits_per_active_parameter": float(np.exp(step.log_bits_active)),
        }
        for step in evidence.steps
    ]


def _laws_table(evidence: Evidence, laws: dict[str, PowerLaw | None]) -> Table:
    rows = []
    for arm, law in laws.items():
        points = evidence.of(arm)
        bits = [point.at.bits_per_parameter for point in points]
        row = [arm, f"{_RATES[arm]:g}", f"{points[0].total:,}", f"{points[0].active:,}"]
        row.append(f"{min(bits):.2g} to {max(bits):.2g}")
        if law is None:
            row += ["–", "–"]
        else:
            row += [
                f"{law.b:.3f} [{law.b_interval[0]:.3f}, {law.b_interval[1]:.3f}]",
                f"{law.bend:+.3f} [{law.bend_interval[0]:+.3f}, {law.bend_interval[1]:+.3f}]",
            ]
        rows.append(row)
    columns = ["arm", "learning rate", "total parameters", "active", "facts (bits per total parameter)"]
    columns += ["exponent", "bend"]
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
                f"{point.bits_per_active:.3g}",
                ", ".join(f"{end:,.0f}" for end in point.at.ends) or "–",
                f"{np.exp(point.log_end) / point.revisit:.1f}" if point.at.ends else "–",
                exponent,
                point.left_out or "used",
            ]
        )
    columns = ["arm", "people", "bits per total parameter", "per active parameter", "plateau end, each seed (steps)"]
    columns += ["biographies per person", "exponent from the size before", "in the claims"]
    note = "Exponents have 95% intervals, one by one, from the scatter of all arms' seeds."
    return Table("Plateau ends", columns, rows, note)


def _figures(evidence: Evidence) -> dict[str, tuple[str, DrawFigure]]:
    figures: dict[str, tuple[str, DrawFigure]] = {}
    if evidence.steps:
        figures["exponents"] = (
            "Exponents between neighbouring sizes, against facts per total and per active parameter. Bars: 95% "
            "intervals. If one of the two sets the exponent, all arms lie on one curve there.",
            partial(exponents_figure, evidence),
        )
    if any(point.at.ends for point in evidence.points):
        figures["encounters"] = (
            "Biographies per person until the plateau ends, and exponents, against people.",
            partial(encounters_figure, evidence),
        )
    return figures


STUDY = Study(
    name="law-capacity",
    title="What sets the exponent of the plateau law: width, total or active parameters?",
    figure="not in the paper",
    grids={SCALE: grid()},
    claims={SCALE: CLAIMS},
    examine=examine,
)
