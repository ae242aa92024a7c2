"""The sizes that studies train: a step against its floor, against ``transformers`` and against plain modules.

Every cell is one batch size, one width and one kind of model: dense, 8 experts of which a token uses 2, or 32 of which
it uses 1; a token's experts are together as wide as the dense block. The model has two layers and four heads; its
vocabulary is that of the laptop scale. Mixtures are gated, because that of ``transformers`` is; a mixture whose tokens
use one expert has no counterpart there (Qwen2-MoE, to which it is exported, would train a shared expert besides).
Balancing losses are off. Candidates run in turns; a comparison is void unless all losses of the first steps agree.
"""

from collections.abc import Callable, Sequence

import torch

from benchmarks import floor, transformers
from benchmarks.plain import plain_model
from benchmarks.setting import Result, Row, Setting, TrainingCase, ratio_text
from benchmarks.timing import time_side_by_side

BATCH_SIZES, WIDTHS = (32, 128), (64, 128, 256)
KINDS = {
    "dense": "dense_laptop",
    "8 experts, 2 per token": "moe_laptop",
    "32 experts, 1 per token": "moe_laptop_switch",
}
TRANSFORMERS, PLAIN = "transformers", "plain"
_WITH_TRANSFORMERS = ("dense", "8 experts, 2 per token")
GOALS = {TRANSFORMERS: 1.5, PLAIN: 1.35}
FLOOR_GOALS = {"dense": 1.35}
_FLOOR_GOAL = 1.5


def overrides(kind: str, width: int, batch_size: int) -> list[str]:
    """The settings of a cell."""
    found = [f"model={KINDS[kind]}", f"model.d_model={width}", "model.num_heads=4", f"model.d_head={width // 4}"]
    found += [f"model.d_hidden={4 * width}", f"training.batch_size={batch_size}", "training.schedule=constant"]
    found += ["training.learning_rate=3e-4"]
    if kind != "dense":
        d_expert = 2 * width if kind.startswith("8") else 4 * width
        found += [f"model.moe.d_expert={d_expert}", "model.activation=swiglu"]
        found += ["model.moe.balance.token_balance=0", "model.moe.balance.z_loss=0"]
    return found


def cell(setting: Setting, kind: str, width: int, batch_size: int) -> Result:
    """Measure one cell."""
    case = TrainingCase(setting.config(*overrides(kind, width, batch_size)), num_batches=4)
    models: dict[str, torch.nn.Module] = {PLAIN: plain_model(case.materials.model)}
    if kind in _WITH_TRANSFORMERS:
        models[TRANSFORMERS] = transformers.load_theirs(case)
    steppers = {name: transformers.their_stepper(case, one, name == PLAIN or None) for name, one in models.items()}
    products = floor.unavoidable_products(case, in_parts=False)
    ours = case.stepper()
    difference = transformers.largest_difference(ours, list(steppers.values()))
    candidates: dict[str, Callable[[], object]] = {"ours": ours, "floor": products, **steppers}
    timings = time_side_by_side(candidates, setting.rounds, warmup=0)
    return {
        "valid": difference <= transformers.TOLERANCE,
        "largest_loss_difference": difference,
        "step": timings["ours"].as_milliseconds(),
        "over_floor": timings["ours"].over(timings["floor"]).as_ratio(),
        "times": {name: timings[name].over(timings["ours"]).as_ratio() for name in steppers},
    }


def run(setting: Setting, widths: Sequence[int] = WIDTHS, batch_sizes: Sequence[int] = BATCH_SIZES) -> Result:
    """Measure every cell."""
    return {
        f"{kind}, width {width}, batch {size}": {"kind": kind} | cell(setting, kind, width, size)
        for kind in KINDS
        for width in widths
        for size in batch_sizes
    }


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    table = []
    for name, found in result.items():
        if not isinstance(found, dict) or "over_floor" not in found:
            continue
        void = "" if found["valid"] else f" VOID: losses differ by {found['largest_loss_difference']:.1e}"
        goal = FLOOR_GOALS.get(found["kind"], _FLOOR_GOAL)
        measured = found["over_floor"]
        what = f"{name}: step / its floor ({found['step']['median_ms']:.0f} ms)"
        table.append(Row(what, ratio_text(measured), f"≤ {goal}", measured["ratio"] <= goal))
        for peer, ratio in found["times"].items():
            holds = found["valid"] and ratio["ratio"] >= GOALS[peer]
            table.append(Row(f"{name}: {peer} / ours", ratio_text(ratio) + void, f"≥ {GOALS[peer]}", holds))
    return table
