"""The runs of plateau-law: sizes, seeds, learning rates, and how often each run is evaluated."""

from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._unseen import unseen_at_both_ends
from moefacts.experiments.studies.plateau_law import published

# Size -> (step limit, likely steps, steps between evaluations, seeds). Evaluations are about a tenth of the likely
# steps apart. The smallest size shows where the law stops holding; the largest takes so long that it has only one seed.
_LAPTOP_STEPS = {
    256: (400, 150, 15, 3), 512: (700, 240, 25, 3), 1024: (1100, 410, 40, 3), 2048: (2000, 760, 80, 3),
    4096: (4000, 1570, 160, 3), 8192: (8000, 3500, 350, 3), 16384: (16000, 7500, 750, 1),
}  # fmt: skip
# From this size on, evaluations are four times as far apart until the plateau's end is near.
_LONG = {"laptop": 2048, "paper": 32000}
_EARLY_FACTOR = 4
_PAPER_INTERVAL = 25
_LAPTOP_RATE_STEPS = {512: 350, 1024: 620, 2048: 1150, 4096: 2400, 8192: 5000}  # 1.5 times the likely steps
_LAPTOP_RATES = ("7.5e-4", *laptop.LEARNING_RATES)  # five, as in the study, a factor of two apart
_PAPER_RATES = ("1e-4", "2e-4", "4e-4", "8e-4", "16e-4")


def _evaluation(scale: str, size: int, interval: int) -> tuple[str, ...]:
    """Evaluation settings. The law needs no unseen people, so they are evaluated only at the first and last step."""
    early = interval * (_EARLY_FACTOR if size >= _LONG[scale] else 1)
    return (
        f"evaluation.interval={interval}",
        f"evaluation.interval_early={early}",
        unseen_at_both_ends(interval),
    )


def _laptop_settings(size: int) -> tuple[str, ...]:
    interval = _LAPTOP_STEPS[size][2]
    after = f"evaluation.interval_after_plateau={interval}"
    return (f"population.size={size}", *laptop.LAW_SETTINGS, *_evaluation("laptop", size, interval), after)


def _paper_settings(size: int) -> tuple[str, ...]:
    return (f"population.size={size}", *_evaluation("paper", size, _PAPER_INTERVAL))


def laptop_grid() -> list[GridRun]:
    """The runs of the laptop scale, which stop soon after their plateau."""
    return [
        GridRun(
            (
                *_laptop_settings(size),
                f"seed={seed}",
                f"training.learning_rate={laptop.LEARNING_RATE}",
                f"training.steps={steps}",
                f"training.stop_after_plateau={2 * interval}",
            ),
            expected + 2 * interval,
            {"size": size},
        )
        for size, (steps, expected, interval, seeds) in reversed(_LAPTOP_STEPS.items())  # the longest first
        for seed in range(seeds)
    ]


def paper_grid() -> list[GridRun]:
    """The runs of the paper scale: the study's seven sizes and five seeds, stopped soon after the plateau."""
    stop = (
        f"training.stop_after_plateau={4 * _PAPER_INTERVAL}",
        f"evaluation.interval_after_plateau={_PAPER_INTERVAL}",
    )
    return [
        GridRun((*_paper_settings(size), f"seed={seed}", *stop), end + 200, {"size": size})
        for size, end in published.ENDS.items()
        for seed in range(5)
    ]


def laptop_rate_grid() -> list[GridRun]:
    """The runs of the laptop scale with every learning rate, none of which stop early."""
    return [
        GridRun(
            (
                *_laptop_settings(size),
                f"training.learning_rate={rate}",
                f"training.steps={steps}",
                "seed=0",
            ),
            labels={"size": size, "learning_rate": float(rate)},
        )
        for size, steps in reversed(_LAPTOP_RATE_STEPS.items())
        for rate in _LAPTOP_RATES
    ]


def paper_rate_grid() -> list[GridRun]:
    """The runs of the paper scale with every learning rate of the study, none of which stop early."""
    return [
        GridRun(
            (*_paper_settings(size), f"training.learning_rate={rate}", f"seed={seed}"),
            labels={"size": size, "learning_rate": float(rate)},
        )
        for size in published.ENDS
        for rate in _PAPER_RATES
        for seed in range(5)
    ]
