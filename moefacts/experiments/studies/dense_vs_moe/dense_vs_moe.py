"""How a mixture of experts changes the learning of facts. No answers are published, so the claims are hypotheses.

Dense models are compared with mixtures of equal active and of equal total parameters. The mixtures have 8 experts, two
per token, or 32 experts, one per token. They are trained with the presets' balancing and without any. One mixture is
also trained with each kind of balancing alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moefacts.analysis.comparison import paired_difference
from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.study_report import Table
from moefacts.analysis.summary import estimate
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, above, below, within
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._paired import idle_experts, max_violation, value_of
from moefacts.experiments.studies.dense_vs_moe.comparison import (
    BALANCED,
    DENSE,
    NAMES,
    UNBALANCED,
    Comparison,
    against_dense,
    against_unbalanced,
)
from moefacts.experiments.studies.dense_vs_moe.dense_vs_moe_figures import load_over_training_by_balancing
from moefacts.runs import keys

ACCURACY_MARGIN = 0.05  # accuracies that differ by less count as equal
_SEEDS = 3
# Laptop runs use the settings of plateau-law and are three times as long as its dense plateaus.
_STEPS = {"laptop": {512: 750, 1024: 1300, 2048: 2400}, "paper": {16000: 16000, 64000: 16000}}
_LAPTOP_INTERVAL = {512: 20, 1024: 40, 2048: 80}  # steps between evaluations until the plateau ends
_BASE = {"laptop": "laptop", "paper": "44m"}
_COLLAPSE_SIZE = {"laptop": 1024, "paper": 16000}
_SIZES_WITHOUT_BALANCING = {"laptop": (512, 1024, 2048), "paper": (16000,)}
_LOSSES = ("importance", "load", "token_balance", "z_loss", "bias_rate")
_NO_BALANCING = tuple(f"model.moe.balance.{name}=0" for name in _LOSSES)
# Each kind of balancing alone, at the weight in its own paper. The smooth load is defined for noisy KeepTopK only.
_ALONE = {
    "none": (),
    "importance": ("model.moe.balance.importance=0.1",),
    "load (noisy)": ("model.moe.kind=keep_top_k", "model.moe.noise=true", "model.moe.balance.load=0.1"),
    "token balance": ("model.moe.balance.token_balance=0.01",),
    "z-loss": ("model.moe.balance.z_loss=0.001",),
    "bias, no loss": ("model.moe.balance.bias_rate=0.001",),
}


def _preset(kind: str, base: str) -> str:
    family, _, rest = kind.partition("_")
    return f"{family}_{base}" + (f"_{rest}" if rest else "")


def _common(scale: str, size: int) -> tuple[str, ...]:
    common = (f"population.size={size}", f"training.steps={_STEPS[scale][size]}")
    if scale == "paper":
        return common
    interval = _LAPTOP_INTERVAL[size]
    return (
        *common,
        *laptop.LAW_SETTINGS,
        f"training.learning_rate={laptop.LEARNING_RATE}",
        f"evaluation.interval={interval}",
        f"evaluation.interval_after_plateau={2 * interval}",
        f"evaluation.interval_unseen={4 * interval}",
    )


def _grid(scale: str) -> list[GridRun]:
    base = _BASE[scale]
    runs = []
    for size in _STEPS[scale]:
        common = _common(scale, size)
        for kind in NAMES:
            without_too = size in _SIZES_WITHOUT_BALANCING[scale]
            for balancing in (DENSE,) if kind == "dense" else (BALANCED, UNBALANCED) if without_too else (BALANCED,):
                labels = {"part": "comparison", "kind": kind, "balancing": balancing, "size": size}
                without = _NO_BALANCING if balancing == UNBALANCED else ()
                for seed in seeds_for(size, _SEEDS):
                    overrides = (f"model={_preset(kind, base)}", *common, *without, f"seed={seed}")
                    runs.append(GridRun(overrides, labels=labels))
    collapse_size = _COLLAPSE_SIZE[scale]
    common = _common(scale, collapse_size)
    for name, alone in _ALONE.items():
        touched = {setting.partition("=")[0] for setting in alone}
        off = [setting for setting in _NO_BALANCING if setting.partition("=")[0] not in touched]
        labels = {"part": "collapse", "kind": "moe", "balancing": name, "size": collapse_size}
        first = f"seed={seeds_for(collapse_size, 1)[0]}"
        runs.append(GridRun((f"model={_preset('moe', base)}", *common, *off, *alone, first), labels=labels))
    return runs


# Measure -> column of the table
_COLUMNS = {
    "plateau_end_interpolated": "plateau end (steps)",
    "steps_to_50_accuracy": "50% known (steps)",
    "final_attribute_loss": "final attribute loss (nats)",
    "final_attribute_accuracy": "final accuracy",
    "unseen_final_loss_over_baseline": "unseen loss / baseline",
    "unseen_auroc": "unseen AUROC",
    "max_violation": "max violation at the end",
    "idle_experts": "idle experts at the end",
}
_DIFFERENCES = ("plateau_end_interpolated", "steps_to_50_accuracy", "final_attribute_accuracy", "unseen_auroc")
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
            "over three seeds. The panels are scaled to the dots, so some bars end outside. Seeds that never reach 50% "
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


def _difference_values(comparison: Comparison) -> list[dict[str, Any]]:
    rows = []
    for kind, balancing, size in comparison.groups():
        if kind == "dense":
            continue
        for measure in _DIFFERENCES:
            ours = comparison.values(measure, kind, balancing, size)
            pair = paired_difference(ours, comparison.values(measure, "dense", DENSE, size))
            found = {"mean": pair.mean, "interval": pair.interval, "pairs": pair.count} if pair else {"pairs": 0}
            rows.append({"kind": kind, "balancing": balancing, "size": size, "measure": measure} | found)
    return rows


def _differences(comparison: Comparison) -> Table:
    cells: dict[tuple, dict[str, str]] = {}
    for row in _difference_values(comparison):
        text = "–"
        if row["pairs"]:
            text = f"{row['mean']:+.3g}"
            if row["interval"]:
                text += f" [{row['interval'][0]:+.3g}, {row['interval'][1]:+.3g}]"
        cells.setdefault((row["kind"], row["balancing"], row["size"]), {})[row["measure"]] = text
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
            ),
            Claim(
                f"At equal active parameters a mixture of {name} knows more at the end than a dense model",
                "none published",
                f"Difference in final accuracy, mixture minus dense, {pairs}. " + verdicts.format("above 0", "below"),
                partial(against_dense, "final_attribute_accuracy", kind, partial(above, bound=0.0), False),
            ),
        ]
    for kind in ("moe_total", "moe_switch_total"):
        name = NAMES[kind].split(",")[0]
        claims.append(
            Claim(
                f"Memorisation follows total parameters: if these are equal, {name} know as much as a dense model",
                "arXiv 2410.19034",
                f"Difference in final accuracy, mixture minus dense, {pairs}. "
                + verdicts.format(f"inside ±{ACCURACY_MARGIN}", "outside"),
                partial(
                    against_dense,
                    "final_attribute_accuracy",
                    kind,
                    partial(within, low=-ACCURACY_MARGIN, high=ACCURACY_MARGIN),
                    False,
                ),
            )
        )
    claims += [
        Claim(
            "Without balancing the router leans towards collapse: its busiest expert is busier",
            "no number published",
            "Difference in max violation at the end, without balancing minus with it, averaged over all mixtures, "
            "sizes and seeds. " + verdicts.format("above 0", "below"),
            partial(against_unbalanced, "max_violation", partial(above, bound=0.0)),
        ),
        Claim(
            "Balancing costs no knowledge",
            "none published",
            "Difference in final accuracy, without balancing minus with it, averaged over all mixtures, sizes and "
            "seeds. " + verdicts.format(f"below {ACCURACY_MARGIN}", "above"),
            partial(against_unbalanced, "final_attribute_accuracy", partial(below, bound=ACCURACY_MARGIN)),
        ),
        Claim(
            "At equal active parameters a mixture hallucinates more: its loss on unseen people is higher",
            "none published",
            f"Difference in unseen loss over baseline, 8 experts top-2 minus dense, {pairs}. "
            + verdicts.format("above 0", "below"),
            partial(against_dense, "unseen_final_loss_over_baseline", "moe", partial(above, bound=0.0), False),
        ),
    ]
    return claims


STUDY = Study(
    name="dense_vs_moe",
    title="What a mixture of experts changes about how facts are learned",
    figure="not in the paper",
    grids={scale: _grid(scale) for scale in _STEPS},
    claims=dict.fromkeys(_STEPS, tuple(_claims())),
    examine=examine,
)
