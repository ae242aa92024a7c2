"""The runs of law-capacity: the law at three widths, dense and with mixtures, in the workstation's training setting.

Within a width nothing but the kind of model differs. Between widths the learning rate is scaled as 1 / width, as for
AdamW in arXiv 2203.03466, from the workstation's 1e-3 at width 256. At width 64 this is 4e-3; a sweep found 3e-3 and
6e-3 to be the best there (``results/laptop/plateau-law-lr``). One more arm, width 64 at the widest's rate, differs from
width 256 in width alone. Weight decay is the study's over the rate, so AdamW forgets within 25,000 steps everywhere.

The runs of width 256 are those of ``plateau-law`` and ``plateau-law-moe``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies.plateau_law import grids
from moefacts.experiments.studies.plateau_law.grids import Size, law_run

SCALE = "workstation"
WIDEST, WIDEST_RATE = 256, 1e-3
_RATE_TIMES_DECAY = 4e-4 * 0.1  # the study's


@dataclass(frozen=True)
class Arm:
    """A model and its learning rate.

    Attributes:
        name: how tables and figures call it.
        width: of the model.
        preset: of the model.
        rate: the learning rate.
        sizes: the population sizes, with how each is trained and evaluated.
        shape: overrides that change the preset's shape.
    """

    name: str
    width: int
    preset: str
    rate: float
    sizes: Mapping[int, Size]
    shape: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple[str, ...]:
        """The overrides of all its runs."""
        training = f"training.learning_rate={self.rate:g}", f"training.weight_decay={_RATE_TIMES_DECAY / self.rate:g}"
        return (f"model={self.preset}", *self.shape, *training)


def _rate(width: int) -> float:
    return WIDEST_RATE * WIDEST / width


_SIZES = (512, 1024, 2048, 4096, 8192)
_LAPTOP, _WORKSTATION = ({size: grids.SIZES[scale][size] for size in _SIZES} for scale in ("laptop", "workstation"))
_OF_MIXTURES = {size: _WORKSTATION[size] for size in (1024, 2048, 4096)}
_RARELY = {"early": 4, "control": 2}  # as at the laptop scale
# Likely ends between those of widths 64 and 256, and of width 64 at lower rates (results/laptop/plateau-law-lr).
_BETWEEN = {
    512: Size(180, 20, 3, 550), 1024: Size(310, 30, 3, 900), 2048: Size(560, 60, 3, 1700, control=2),
    4096: Size(1080, 110, 3, 3300, **_RARELY), 8192: Size(2300, 230, 3, 7000, **_RARELY),
}  # fmt: skip
_SLOW = {
    512: Size(550, 50, 3, 1600), 1024: Size(900, 90, 3, 2700), 2048: Size(1550, 150, 3, 4600, **_RARELY),
    4096: Size(2800, 280, 3, 8400, **_RARELY), 8192: Size(6000, 600, 3, 16000, **_RARELY),
}  # fmt: skip
NARROW = Arm("width 64, dense", 64, "dense_laptop", _rate(64), _LAPTOP)
_SHAPE_128 = ("model.d_model=128", "model.d_head=32", "model.d_hidden=512")
BETWEEN = Arm("width 128, dense", 128, "dense_workstation", _rate(128), _BETWEEN, _SHAPE_128)
WIDE = Arm("width 256, dense", 256, "dense_workstation", _rate(256), _WORKSTATION)
NARROW_EXPERTS = Arm("width 64, 32 experts", 64, "moe_laptop_switch", _rate(64), _LAPTOP)
WIDE_EXPERTS = Arm("width 256, 32 experts", 256, "moe_workstation_switch", _rate(256), _OF_MIXTURES)
WIDE_TOTAL = Arm("width 256, 32 small experts", 256, "moe_workstation_switch_total", _rate(256), _OF_MIXTURES)
NARROW_SLOW = Arm("width 64, dense, rate of width 256", 64, "dense_laptop", _rate(256), _SLOW)
ARMS = (NARROW, BETWEEN, WIDE, NARROW_EXPERTS, WIDE_EXPERTS, WIDE_TOTAL, NARROW_SLOW)


def grid() -> list[GridRun]:
    """Every arm at its sizes, the largest first."""
    return [
        law_run(SCALE, size, seed, arm.settings, {"arm": arm.name}, at=arm.sizes[size])
        for size in reversed(_SIZES)
        for arm in ARMS
        if size in arm.sizes
        for seed in seeds_for(size, arm.sizes[size].seeds)
    ]
