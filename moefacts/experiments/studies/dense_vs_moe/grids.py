"""The runs of dense-vs-moe, and those that choose a learning rate for every kind of model."""

from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies.dense_vs_moe.comparison import BALANCED, DENSE, NAMES, UNBALANCED

_SEEDS = 4
# Laptop runs use the settings of plateau-law and are three times as long as its dense plateaus.
STEPS = {"laptop": {512: 750, 1024: 1300, 2048: 2400}, "paper": {16000: 16000, 64000: 16000}}
_LAPTOP_INTERVAL = {512: 20, 1024: 40, 2048: 80}  # steps between evaluations until the plateau ends
_BASE = {"laptop": "laptop", "paper": "44m"}
_COLLAPSE_SIZE = {"laptop": 1024, "paper": 16000}
_SIZES_WITHOUT_BALANCING = {"laptop": (512, 1024, 2048), "paper": (16000,)}
RATES = {"laptop": laptop.LEARNING_RATES, "paper": ("2e-4", "4e-4", "8e-4")}
_RATES_SIZE = {"laptop": 1024, "paper": 16000}  # the number of people at which rates are tried
# Every kind's rate of the lowest final training loss (results/laptop/dense_vs_moe-lr). At paper scale none has been
# tried yet, and all use the preset's.
CHOSEN_RATES: dict[str, dict[str, str]] = {
    "laptop": {"dense": "6e-3", "moe": "3e-3", "moe_total": "6e-3", "moe_switch": "6e-3", "moe_switch_total": "6e-3"},
    "paper": {},
}
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


def _model(kind: str, scale: str, rate: str | None = None) -> tuple[str, ...]:
    """The model of a kind at a scale, with its own learning rate or the given one."""
    family, _, rest = kind.partition("_")
    rate = rate or CHOSEN_RATES[scale].get(kind)
    preset = f"model={family}_{_BASE[scale]}" + (f"_{rest}" if rest else "")
    return (preset, f"training.learning_rate={rate}") if rate else (preset,)


def _common(scale: str, size: int, unseen_every: int = 2) -> tuple[str, ...]:
    """What all runs of a size share. ``unseen_every``: evaluations until one also covers unseen people."""
    common = (f"population.size={size}", f"training.steps={STEPS[scale][size]}")
    if scale == "paper":
        return common
    interval = _LAPTOP_INTERVAL[size]
    return (
        *common,
        *laptop.LAW_SETTINGS,
        f"evaluation.interval={interval}",
        f"evaluation.interval_after_plateau={2 * interval}",
        f"evaluation.interval_unseen={unseen_every * interval}",
    )


def comparison_grid(scale: str) -> list[GridRun]:
    """The runs of every kind of model, with and without balancing, and of one mixture under every balancing alone."""
    runs = []
    for size in STEPS[scale]:
        common = _common(scale, size)
        for kind in NAMES:
            without_too = size in _SIZES_WITHOUT_BALANCING[scale]
            for balancing in (DENSE,) if kind == "dense" else (BALANCED, UNBALANCED) if without_too else (BALANCED,):
                labels = {"part": "comparison", "kind": kind, "balancing": balancing, "size": size}
                without = _NO_BALANCING if balancing == UNBALANCED else ()
                for seed in seeds_for(size, _SEEDS):
                    overrides = (*_model(kind, scale), *common, *without, f"seed={seed}")
                    runs.append(GridRun(overrides, labels=labels))
    collapse_size = _COLLAPSE_SIZE[scale]
    common = _common(scale, collapse_size)
    for name, alone in _ALONE.items():
        touched = {setting.partition("=")[0] for setting in alone}
        off = [setting for setting in _NO_BALANCING if setting.partition("=")[0] not in touched]
        labels = {"part": "collapse", "kind": "moe", "balancing": name, "size": collapse_size}
        first = f"seed={seeds_for(collapse_size, 1)[0]}"
        runs.append(GridRun((*_model("moe", scale), *common, *off, *alone, first), labels=labels))
    return runs


def rate_grid(scale: str) -> list[GridRun]:
    """Every kind of model with every learning rate, at one population size and with one seed."""
    size = _RATES_SIZE[scale]
    return [
        GridRun(
            (*_model(kind, scale, rate), *_common(scale, size, 4), f"seed={seeds_for(size, 1)[0]}"),
            labels={"kind": kind, "learning_rate": float(rate)},
        )
        for kind in NAMES
        for rate in RATES[scale]
    ]
