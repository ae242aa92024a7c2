"""A fine-tuning step of every method against a training step of the same model on the same batches, side by side.

Weights are fresh, which makes no difference to the time; what a method measures before its first step is not timed.
The penalties and self-distillation do more than training, by design: they have no goal.
"""

from collections.abc import Callable

from benchmarks.setting import Result, Row, Setting, TrainingCase, comparison_rows
from benchmarks.timing import compare

GOALS = {"full": 1.02, "lora": 1.1, "sparse_memory": 1.1, "esft": 1.1}  # full is the same code: 0.02 is for noise
_STARTED = ("init.run=x", "init.step=1", "init.source=x")  # nothing is loaded
_LORA = ("method.rank=8", "method.alpha=16")
_SLOTS = ("method.slots_per_token=32", "method.batches=4", "method.cohort=unseen")
METHODS: dict[str, dict[str, tuple[str, ...]]] = {
    "dense_laptop": {
        "full": (),
        "freeze": ("training.freeze=[embeddings,layer_0]",),
        "lora": (*_LORA, "method.targets=[attention,mlp]"),
        "sparse_memory": _SLOTS,
        "l2_sp": ("training.start_penalty=0.1",),
        "ewc": ("training.start_penalty=0.1", "method.cohort=unseen", "method.batches=4"),
        "self_distillation": ("method.cohort=unseen", "method.distillation=1"),
    },
    "moe_laptop": {
        "full": (),
        "freeze": ("training.freeze=[router]",),
        "lora": (*_LORA, "method.targets=[attention,experts]"),
        "sparse_memory": _SLOTS,
        "esft": ("method.relevance=selection", "method.expert_share=0.2", "method.batches=4"),
        "new_experts": ("model.moe.num_added=1",),
    },
}


def run(setting: Setting, num_slots: int = 200) -> Result:
    """Time every method of every model; ratios are over its training step."""
    comparisons: dict[str, dict[str, Callable[[], object]]] = {}
    for model, methods in METHODS.items():
        cases = {"training": TrainingCase(setting.config(f"model={model}"))}
        for method, overrides in methods.items():
            given = (f"model={model}", *_STARTED, f"training.method={method}", *overrides)
            if method == "sparse_memory":
                given = (*given, f"method.num_slots={num_slots}")
            cases[method] = TrainingCase(setting.config(*given))
        comparisons[model] = {name: case.stepper() for name, case in cases.items()}
    return compare(comparisons, setting.rounds)


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""

    def goal(_title: str, method: str, ratio: float) -> tuple[str, bool | None]:
        if method not in GOALS:
            return "", None
        return f"≤ {GOALS[method]}", ratio <= GOALS[method]

    return comparison_rows(result, goal)
