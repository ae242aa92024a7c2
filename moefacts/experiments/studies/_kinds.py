"""The kinds of model that studies of fine-tuning compare, and the runs that theirs start from."""

from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies._finetuned import pretraining

DENSE, EIGHT, MANY = "dense", "8 experts, 2 per token", "32 experts, 1 per token"
EIGHT_TOTAL, MANY_TOTAL = f"{EIGHT}, equal total", f"{MANY}, equal total"
_PRESETS = {
    "laptop": {
        DENSE: "dense_laptop",
        EIGHT: "moe_laptop",
        MANY: "moe_laptop_switch",
        EIGHT_TOTAL: "moe_laptop_total",
        MANY_TOTAL: "moe_laptop_switch_total",
    },
    "paper": {
        DENSE: "dense_44m",
        EIGHT: "moe_44m",
        MANY: "moe_44m_switch",
        EIGHT_TOTAL: "moe_44m_total",
        MANY_TOTAL: "moe_44m_switch_total",
    },
}


def pretrained(scale: str, seed: int, kind: str) -> GridRun:
    """The run of a kind of model that others start from, at the scale's learning rate.

    A mixture has as many active parameters as the dense model or, if its name says so, as many total parameters.
    """
    return pretraining(scale, seed, *(() if kind == DENSE else (f"model={_PRESETS[scale][kind]}",)))
