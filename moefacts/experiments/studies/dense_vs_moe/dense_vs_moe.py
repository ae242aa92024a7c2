"""How a mixture of experts changes the learning of facts. No answers are published, so the claims are hypotheses.

Dense models are compared with mixtures of equal active and of equal total parameters. The mixtures have 8 experts, two
per token, or 32 experts, one per token. They are trained with the presets' balancing and without any. One mixture is
also trained with each kind of balancing alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moefacts.analysis.comparison import Paired
from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.analysis.unit import NUMBER, Unit
from moefacts.experiments.engine.study import USUAL_SCALES, Findings, FinishedRun, Study
from moefacts.experiments.engine.verdict import Claim, above, below, within
from moefacts.experiments.studies._paired import KNOWN, idle_experts, max_violation, value_of
from moefacts.experiments.studies._trained import STOPPED_EARLY
from moefacts.experiments.studies._units import ACCURACY_POINTS, PLATEAU_RATIO, UNSEEN_BASELINES
from moefacts.experiments.studies.dense_vs_moe.comparison import (
    BALANCED,
    NAMES,
    UNBALANCED,
    Comparison,
    against_dense,
    against_unbalanced,
)
from moefacts.experiments.studies.dense_vs_moe.dense_vs_moe_figures import load_over_training_by_balancing
from moefacts.experiments.studies.dense_vs_moe.grids import comparison_grid
from moefacts.runs import keys

ACCURACY_MARGIN = 0.05  # accuracies that differ by less count as equal

# Measure -> column of the table
_COLUMNS = {
    "plateau_end_interpolated": "plateau end (steps)",
    "steps_to_50_accuracy": "50% known (steps)",
    "final_attribute_loss": "final attribute loss (nats)",
    "final_attribute_accuracy": "final accuracy",
    "unseen_final_loss_over_baseline": "unseen loss / baseline",
    "unseen_loss_when_known": f"unseen loss / baseline when {KNOWN:.0%} is known",
    "unseen_auroc": "unseen AUROC",
    "max_violation": "max violation at the end",
    "idle_experts": "idle experts at the end",
}
_DIFFERENCES = (
    "plateau_end_interpolated",
    "steps_to_50_accuracy",
    "final_attribute_accuracy",
    "unseen_auroc",
    "unseen_loss_when_known",
)
_FIGURE_MEASURES = {
    "plateau_end_interpolated": "plateau end (steps)",
    "steps_to_50_accuracy": "steps to 50% accuracy",
    "final_attribute_accuracy": "final accuracy",
}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compute means with intervals and paired differences from dense for every group, and prepare the figures."""
    comparison = Comparison(runs)
    figures = {}
    if comparison.runs:
        figures["dense_vs_moe"] = (
            "Dense models and mixtures by population size. Dots are single seeds; bars are 95% Student t intervals "
            "over seeds. The panels are scaled to the dots, so some bars end outside. Seeds that never reach 50% "
            "are missing from that panel.",
            partial(_comparison_figure, comparison),
        )
    if comparison.collapse:
        figures["router_collapse"] = (
            "Load of every expert over training, each way of balancing alone (8 experts, two per token, one seed). "
            "In each panel the experts are stacked by their final load; a collapsed router would leave one band.",
            partial(load_over_training_by_balancing, comparison.collapse),
        )
    tables = [_means(comparison), _differences(comparison), _collapse(comparison)]
    return Findings({"differences_from_dense": _difference_values(comparison)}, tables, figures, comparison)


def _means(comparison: Comparison) -> Table:
    rows = []
    for kind, balancing, size in comparison.groups():
        members = comparison.members(kind, balancing, size)
        first = members[0].measures
        row = [NAMES[kind], balancing, f"{size:,}", f"{first['parameters_total']:,}", f"{first['parameters_active']:,}"]
        for measure in _COLUMNS:
            mean = estimate([value_of(run, measure) for run in members])
            row.append("–" if mean is None else mean.text())
        speed = estimate([run.measures["timing"]["tokens_per_second"] for run in members])
        rows.append([*row, "–" if speed is None else f"{speed.mean:,.0f}"])
    columns = ["model", "balancing", "people", "total parameters", "active", *_COLUMNS.values(), "tokens/s"]
    note = (
        "Mean ± half of the 95% Student t interval over seeds. Tokens/s were recorded during training and depend on "
        "what else the machine was doing; python -m benchmarks moe measures all presets side by side."
    )
    return Table("Dense and mixtures", columns, rows, note)


def _pairs(comparison: Comparison) -> list[tuple[str, str, int, str, Paired | None]]:
    """(kind, balancing, size, measure, difference from dense) of every mixture."""
    return [
        (kind, balancing, size, measure, comparison.from_dense(measure, kind, balancing, size))
        for kind, balancing, size in comparison.groups()
        if kind != "dense"
        for measure in _DIFFERENCES
    ]


def _difference_values(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "balancing": balancing, "size": size, "measure": measure} | (vars(pair) if pair else {})
        for kind, balancing, size, measure, pair in _pairs(comparison)
    ]


def _differences(comparison: Comparison) -> Table:
    cells: dict[tuple, dict[str, str]] = {}
    for *mixture, measure, pair in _pairs(comparison):
        cells.setdefault(tuple(mixture), {})[measure] = "–" if pair is None else pair.text()
    rows = [
        [NAMES[kind], balancing, f"{size:,}", *(found[measure] for measure in _DIFFERENCES)]
        for (kind, balancing, size), found in cells.items()
    ]
    columns = ["model", "balancing", "people", *(_COLUMNS[measure] for measure in _DIFFERENCES)]
    note = "Mixture minus dense at the same size and seed (the same data), with the 95% Student t interval over pairs."
    return Table("Differences from dense", columns, rows, note)


def _collapse(comparison: Comparison) -> Table:
    rows = []
    for name, run in comparison.collapse.items():
        violation, idle = max_violation(run), idle_experts(run)
        accuracy = run.curve(keys.ATTRIBUTE_ACCURACY).iloc[-1]
        rows.append([name, "–" if violation is None else f"{violation:.2f}", f"{idle}", f"{accuracy:.3f}"])
    columns = ["balancing", _COLUMNS["max_violation"], _COLUMNS["idle_experts"], "final accuracy"]
    return Table("One mixture with each kind of balancing alone", columns, rows, "8 experts, two per token; one seed.")


def _comparison_figure(comparison: Comparison):
    rows: dict[str, dict[str, list[Series]]] = {}
    for balancing in (BALANCED, UNBALANCED):
        by_measure: dict[str, list[Series]] = {}
        for measure, label in _FIGURE_MEASURES.items():
            for kind, name in NAMES.items():
                by_size: dict[int, list[float | None]] = {}
                for (size, _), value in comparison.values(measure, kind, balancing).items():
                    by_size.setdefault(size, []).append(value)
                by_measure.setdefault(label, []).append(Series(name, by_size))
        rows[f"mixtures {'with' if balancing == BALANCED else 'without'} balancing"] = by_measure
    return compare_over(rows)


def _claims() -> list[Claim]:
    pairs = "averaged over pairs of equal size and seed, all sizes together"
    verdicts = "Holds if its 95% interval lies {0}; does not hold if it lies {1}; cannot tell otherwise."
    claims = []
    for kind in ("moe", "moe_switch"):
        name = NAMES[kind].split(",")[0]
        claims += [
            Claim(
                f"At equal active parameters a mixture of {name} ends its plateau earlier than a dense model",
                "none published",
                f"Log ratio of plateau ends, mixture to dense, {pairs}. " + verdicts.format("below 0", "above"),
                partial(against_dense, "plateau_end_interpolated", kind, partial(below, bound=0.0), True),
                unit=PLATEAU_RATIO,
            ),
            Claim(
                f"At equal active parameters a mixture of {name} knows more at the end than a dense model",
                "none published",
                f"Difference in final accuracy, mixture minus dense, {pairs}. "
                f"{verdicts.format('above 0', 'below')} {STOPPED_EARLY}",
                partial(against_dense, "final_attribute_accuracy", kind, partial(above, bound=0.0), False),
                unit=ACCURACY_POINTS,
            ),
            Claim(
                f"A mixture of {name} of equal active parameters hallucinates more than a dense one that knows as much",
                "none published",
                f"Difference in loss on unseen people over the baseline, each where {KNOWN:.0%} of the values of seen "
                f"people are known, mixture minus dense, {pairs}. {verdicts.format('above 0', 'below')} Cannot tell "
                "either if some run never knows as much.",
                partial(against_dense, "unseen_loss_when_known", kind, partial(above, bound=0.0), False),
                unit=UNSEEN_BASELINES,
            ),
        ]
    for kind in ("moe_total", "moe_switch_total"):
        name = NAMES[kind].split(",")[0]
        claims.append(
            Claim(
                f"Memorisation follows total parameters: if these are equal, {name} know as much as a dense model",
                "arXiv 2410.19034",
                f"Difference in final accuracy, mixture minus dense, {pairs}. "
                f"{verdicts.format(f'inside ±{ACCURACY_MARGIN}', 'outside')} {STOPPED_EARLY}",
                partial(
                    against_dense,
                    "final_attribute_accuracy",
                    kind,
                    partial(within, low=-ACCURACY_MARGIN, high=ACCURACY_MARGIN),
                    False,
                ),
                unit=ACCURACY_POINTS,
            )
        )
    claims += [
        Claim(
            "Without balancing the router leans towards collapse: its busiest expert is busier",
            "no number published",
            "Difference in max violation at the end, without balancing minus with it, averaged over all mixtures, "
            f"sizes and seeds. {verdicts.format('above 0', 'below')} {STOPPED_EARLY}",
            partial(against_unbalanced, "max_violation", partial(above, bound=0.0)),
            unit=Unit(NUMBER, "in max violation"),
        ),
        Claim(
            "Balancing costs no knowledge",
            "none published",
            "Difference in final accuracy, without balancing minus with it, averaged over all mixtures, sizes and "
            f"seeds. {verdicts.format(f'below {ACCURACY_MARGIN}', 'above')} {STOPPED_EARLY}",
            partial(against_unbalanced, "final_attribute_accuracy", partial(below, bound=ACCURACY_MARGIN)),
            unit=ACCURACY_POINTS,
        ),
    ]
    return claims


STUDY = Study(
    name="dense-vs-moe",
    former_name="dense_vs_moe",
    title="What does a mixture of experts change about how facts are learned?",
    figure="not in the paper",
    grids={scale: comparison_grid(scale) for scale in USUAL_SCALES},
    claims=dict.fromkeys(USUAL_SCALES, tuple(_claims())),
    examine=examine,
)
