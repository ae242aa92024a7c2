"""The runs of the plateau-length law: sizes, seeds, learning rates, and how often each is evaluated."""

from moefacts.experiments import laptop
from moefacts.experiments.study import GridRun

PUBLISHED_ENDS = {4000: 375, 8000: 600, 16000: 1110, 32000: 2090, 64000: 3085, 128000: 6030, 256000: 10855}  # digitised
# Size -> (step limit, steps it is likely to take, steps between evaluations: about a tenth of those, seeds). The
# smallest sizes are there to show where the law stops holding; the largest takes a third of the time with one seed.
_LAPTOP_STEPS = {
    256: (300, 120, 10, 3), 512: (350, 145, 15, 3), 1024: (500, 195, 20, 3), 2048: (900, 350, 35, 3),
    4096: (1500, 620, 60, 3), 8192: (2800, 1150, 115, 3), 16384: (5000, 2100, 210, 1),
}  # fmt: skip
# Evaluations apart: unseen people, whom the law does not need, are met at the first and the last step only.
_NEVER = 1_000_000
_PAPER_EVALUATION = ("evaluation.interval_early=100", f"evaluation.interval_unseen={25 * _NEVER}")
_LAPTOP_RATE_STEPS = {1024: 300, 2048: 550, 4096: 1000}  # half as many again as it takes
_PAPER_RATES = ("1e-4", "2e-4", "4e-4", "8e-4", "16e-4")


def _laptop_evaluation(interval: int) -> tuple[str, ...]:
    factors = {"interval": 1, "interval_after_plateau": 1, "interval_early": 4, "interval_unseen": _NEVER}
    return tuple(f"evaluation.{key}={factor * interval}" for key, factor in factors.items())


def laptop_grid() -> list[GridRun]:
    """Runs that stop soon after their plateau, with the study's batch size."""
    return [
        GridRun(
            (
                f"population.size={size}",
                f"seed={seed}",
                f"training.learning_rate={laptop.LEARNING_RATE}",
                f"training.steps={steps}",
                f"training.stop_after_plateau={2 * interval}",
                *_laptop_evaluation(interval),
            ),
            expected + 2 * interval,
            {"size": size},
        )
        for size, (steps, expected, interval, seeds) in reversed(_LAPTOP_STEPS.items())  # the longest first
        for seed in range(seeds)
    ]


def paper_grid() -> list[GridRun]:
    """The study's seven sizes and five seeds, stopped soon after the plateau."""
    stop = ("training.stop_after_plateau=100", "evaluation.interval_after_plateau=25", *_PAPER_EVALUATION)
    return [
        GridRun((f"population.size={size}", f"seed={seed}", *stop), end + 200, {"size": size})
        for size, end in PUBLISHED_ENDS.items()
        for seed in range(5)
    ]


def laptop_rate_grid() -> list[GridRun]:
    """Whole runs with every learning rate."""
    return [
        GridRun(
            (
                f"population.size={size}",
                f"training.learning_rate={rate}",
                f"training.steps={steps}",
                "seed=0",
                *_laptop_evaluation(_LAPTOP_STEPS[size][2]),
            ),
            labels={"size": size, "learning_rate": float(rate)},
        )
        for size, steps in _LAPTOP_RATE_STEPS.items()
        for rate in laptop.LEARNING_RATES
    ]


def paper_rate_grid() -> list[GridRun]:
    """Whole runs with every learning rate of the study."""
    return [
        GridRun(
            (f"population.size={size}", f"training.learning_rate={rate}", f"seed={seed}", *_PAPER_EVALUATION),
            labels={"size": size, "learning_rate": float(rate)},
        )
        for size in PUBLISHED_ENDS
        for rate in _PAPER_RATES
        for seed in range(5)
    ]
