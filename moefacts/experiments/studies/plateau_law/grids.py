"""The runs of plateau-law: sizes, seeds, and how often each run is evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import BestOf, GridRun
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._unseen import unseen_at_both_ends
from moefacts.experiments.studies.plateau_law import published


@dataclass(frozen=True)
class Size:
    """How the runs of one population size are trained and evaluated.

    Attributes:
        likely: the step at which the plateau is likely to end.
        interval: steps between evaluations near the plateau's start and end: at most about a tenth of ``likely``.
        seeds: the number of seeds of the law.
        limit: the step at which a run ends whose plateau has not; None means that of the scale.
        sweep: the steps of the runs that choose a learning rate; None where none is chosen.
        early: evaluations are so many times as far apart until training batches say that the plateau's start or end is
            near. The floor of small populations is so high that knowledge reaches 5% before they do.
        control: the number of intervals between evaluations with permuted values, a multiple of ``early`` or a divisor.
    """

    likely: int
    interval: int
    seeds: int
    limit: int | None = None
    sweep: int | None = None
    early: int = 1
    control: int = 1


# The control loss is smooth on the plateau, so it may be measured at every second evaluation there. Where knowledge may
# reach 5% before the plateau begins, it is not interpolated, so it is measured at all. (LOG.md, 2026-11-27)
_RARELY = {"early": 4, "control": 2}
# The smallest size shows where the law stops holding. The largest takes as long as all others together.
_LAPTOP = {
    256: Size(150, 15, 3, 400), 512: Size(240, 25, 3, 700, 350), 1024: Size(410, 40, 3, 1100, 620),
    2048: Size(760, 80, 3, 2000, 1150, **_RARELY), 4096: Size(1570, 160, 3, 4000, 2400, **_RARELY),
    8192: Size(3500, 350, 3, 8000, 5000, **_RARELY), 16384: Size(7500, 750, 2, 16000, **_RARELY),
}  # fmt: skip
# Likely ends are those of one run by hand at each size. A sweep is about 1.5 times as long.
_WORKSTATION = {
    512: Size(145, 15, 3, 450, 250), 1024: Size(225, 25, 3, 700, 350),
    2048: Size(400, 40, 3, 1200, 600, control=2), 4096: Size(680, 70, 3, 2000, 1000, control=2),
    8192: Size(1450, 100, 3, 4200, 2200, early=2, control=2),
    16384: Size(4000, 250, 3, 10000, 5500, early=2, control=2),
}  # fmt: skip
_PAPER_INTERVAL = 25
_PAPER_CONTROL = {4000: 2, 8000: 4, 16000: 8, 32000: 16, 64000: 16, 128000: 32, 256000: 64}  # 13% to 19% of the plateau
_PAPER = {
    size: Size(end, _PAPER_INTERVAL, 5, None, 16000, 1 if size < 32000 else 4, _PAPER_CONTROL[size])
    for size, end in published.ENDS.items()
}
SIZES = {"laptop": _LAPTOP, "workstation": _WORKSTATION, "paper": _PAPER}
# Runs go on after the plateau's end for this many evaluations, and this share of the likely plateau. The share is for
# knowledge: where the plateau's floor is low, it reaches 5% of the baseline only after the plateau's end.
_STOP_INTERVALS, _STOP_SHARE = {"laptop": 2, "workstation": 2, "paper": 4}, 0.2
_SETTINGS = {"laptop": laptop.LAW_SETTINGS, "workstation": (), "paper": ()}

# The rate of every run of plateau-law. The scale's own is the workstation's and the paper's.
_FIXED = {"laptop": laptop.LEARNING_RATE, "workstation": "1e-3", "paper": "4e-4"}
# A factor of two apart: five as in the study, or four. The weight decay is the same at every rate, as in the study.
RATES = {
    "laptop": ("7.5e-4", *laptop.LEARNING_RATES),
    "workstation": ("2.5e-4", "5e-4", "1e-3", "2e-3"),
    "paper": ("1e-4", "2e-4", "4e-4", "8e-4", "16e-4"),
}
CHOICE, FIXED, BEST = "choice of rates", "one fixed rate", "best rates"  # the parts of plateau-law-lr


def law_run(
    scale: str,
    size: int,
    seed: int,
    settings: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    rate_of_best: tuple[GridRun, ...] = (),
    at: Size | None = None,
) -> GridRun:
    """A run of the law, which stops soon after its plateau. The law needs no unseen people until then.

    It takes the learning rate of the best run in ``rate_of_best``, if there are any. ``at`` replaces the scale's own
    way to train and evaluate the size, for models whose plateaus end elsewhere.
    """
    at = at or SIZES[scale][size]
    margin = at.interval * max(_STOP_INTERVALS[scale], round(_STOP_SHARE * at.likely / at.interval))
    early = at.interval * at.early
    after = early if scale == "paper" else at.interval
    overrides = (
        f"population.size={size}",
        *_SETTINGS[scale],
        f"evaluation.interval={at.interval}",
        f"evaluation.interval_early={early}",
        unseen_at_both_ends(at.interval),
        f"evaluation.interval_after_plateau={after}",
        f"evaluation.interval_control={at.interval * at.control}",
        f"seed={seed}",
        *settings,
        *([] if at.limit is None else [f"training.steps={at.limit}"]),
        f"training.stop_after_plateau={margin}",
    )
    settings_from = BestOf(("training.learning_rate",)) if rate_of_best else None
    return GridRun(overrides, at.likely + margin, {**(labels or {}), "size": size}, rate_of_best, settings_from)


def fixed_rate(scale: str) -> str:
    """The override that sets the rate of every run of plateau-law."""
    return f"training.learning_rate={_FIXED[scale]}"


def law_grid(scale: str, labels: Mapping[str, str] | None = None) -> list[GridRun]:
    """The runs of the law at one fixed learning rate, the longest first but for the paper's."""
    return [
        law_run(scale, size, seed, [fixed_rate(scale)], labels)
        for size, at in _in_order(scale)
        for seed in seeds_for(size, at.seeds)
    ]


def rates_grid(scale: str) -> list[GridRun]:
    """The runs of the law with the best of several rates at every size, beside the runs at one fixed rate.

    As in the study, the best rate has the lowest final training loss. It is chosen with a seed that no run of the law
    has. Runs that choose do not stop early, are evaluated at both ends only, and are no evidence for any claim.
    """
    return [*_choice(scale), *law_grid(scale, {"part": FIXED}), *_best(scale)]


def _choice(scale: str) -> list[GridRun]:
    return [run for size, at in _in_order(scale) if at.sweep for run in _candidates(scale, size)]


def _candidates(scale: str, size: int) -> tuple[GridRun, ...]:
    at = SIZES[scale][size]
    seed = seeds_for(size, at.seeds + 1)[-1]
    common = (
        f"population.size={size}",
        *_SETTINGS[scale],
        f"evaluation.interval={at.sweep}",
        f"evaluation.interval_after_plateau={at.sweep}",
        f"seed={seed}",
        f"training.steps={at.sweep}",
        *([] if scale == "paper" else ["training.log_interval=1"]),  # the final loss is then that of more biographies
    )
    return tuple(
        GridRun(
            (*common, f"training.learning_rate={rate}"),
            labels={"part": CHOICE, "size": size, "learning_rate": float(rate)},
        )
        for rate in RATES[scale]
    )


def _best(scale: str) -> list[GridRun]:
    return [
        law_run(scale, size, seed, labels={"part": BEST}, rate_of_best=_candidates(scale, size))
        for size, at in _in_order(scale)
        if at.sweep
        for seed in seeds_for(size, at.seeds)
    ]


def _in_order(scale: str) -> list[tuple[int, Size]]:
    return sorted(SIZES[scale].items(), reverse=scale != "paper")
