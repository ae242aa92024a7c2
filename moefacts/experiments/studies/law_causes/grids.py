"""The runs of law-causes: one usual arm, and arms that each differ from it or from another arm in one thing."""

from collections.abc import Sequence
from dataclasses import replace

from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._moments import AttentionOf, plateau_ends
from moefacts.experiments.studies._unseen import unseen_at_both_ends
from moefacts.experiments.studies.plateau_law.grids import fixed_rate

SEEDS = {512: 4, 1024: 4, 2048: 4, 4096: 3}
SIZES = tuple(SEEDS)  # of the law with its own and with finished attention
SIZE = 2048  # where width and rate vary
SCHEDULE_SIZES = (2048, 4096)

# Mean plateau ends of the runs of plateau-law (results/laptop/plateau-law), in steps.
_ENDS = {512: 246, 1024: 427, 2048: 798, 4096: 1722}
# Evaluations are a twenty-fifth of that apart, since plateaus with finished attention end early.
_INTERVALS = {512: 10, 1024: 20, 2048: 32, 4096: 64}
# Runs of the usual arm, and so those with finished attention, last for two plateaus of the mean length.
STEPS = {512: 500, 1024: 860, 2048: 1600, 4096: 3456}
# Finished attention is that of a run whose plateau is long over: 1.6 times as many steps as its own plateau took, which
# two mean plateaus contain for all seeds but those whose plateau is longer than the mean by more than a quarter.
FINISHED_AT = plateau_ends(1.6)
_RARELY = 2  # evaluations are so many times rarer where the plateau's start and end are far, and after the end
_COSINE_SHARE = 1.4  # the length of a cosine, in ends with a constant rate
# Arms that vary width or rate stop after their plateau. Knowledge reaches 5% by then.
_MARGIN, _LIMIT = 160, 3200

RATE, HALF_RATE = laptop.LEARNING_RATE, "1.5e-3"


def of_width(width: int, rate: str = RATE) -> str:
    """The name of the arm of this width and learning rate."""
    return f"width {width}, rate {rate}"


USUAL, COSINE, FINISHED = of_width(64), "cosine", "finished attention"
# Pairs of arms of equal learning rate, of which the first is twice as wide.
WIDER = (
    (of_width(64), of_width(32)),
    (of_width(128), of_width(64)),
    (of_width(128, HALF_RATE), of_width(64, HALF_RATE)),
)
# Pairs of arms of equal width, of which the first has half the learning rate.
SLOWER = ((of_width(64, HALF_RATE), of_width(64)), (of_width(128, HALF_RATE), of_width(128)))

# Arm -> its settings, and the step at which its plateau is likely to end: guesses, which matter for estimates of time.
_STOPPING = {
    of_width(32): ((32, RATE), 1300),
    of_width(64, HALF_RATE): ((64, HALF_RATE), 1100),
    of_width(128): ((128, RATE), 600),
    of_width(128, HALF_RATE): ((128, HALF_RATE), 600),
}


def grid() -> list[GridRun]:
    """All runs, small populations first."""
    runs = [run for size in SIZES for run in (*_seeds(USUAL, size, _whole(size)), *_twins(size))]
    runs += [run for size in SCHEDULE_SIZES for run in _seeds(COSINE, size, _cosine(size))]
    for arm, ((width, rate), likely) in _STOPPING.items():
        runs += _seeds(arm, SIZE, (*_width(width), *_stopping(rate)), likely + _MARGIN)
    return runs


def _seeds(arm: str, size: int, settings: Sequence[str], expected: int | None = None) -> list[GridRun]:
    return [_run(arm, size, seed, settings, expected) for seed in seeds_for(size, SEEDS[size])]


def _run(arm: str, size: int, seed: int, settings: Sequence[str], expected: int | None = None) -> GridRun:
    interval = _INTERVALS[size]
    early = interval * (_RARELY if size >= SIZE else 1)  # small populations may reach 5% knowledge before their plateau
    overrides = (
        f"population.size={size}",
        *laptop.LAW_SETTINGS,
        f"evaluation.interval={interval}",
        f"evaluation.interval_early={early}",
        f"evaluation.interval_after_plateau={_RARELY * interval}",
        f"evaluation.interval_control={early}",
        unseen_at_both_ends(interval),
        f"seed={seed}",
        *settings,
    )
    return GridRun(overrides, expected, {"arm": arm, "size": size})


def _whole(size: int) -> tuple[str, ...]:
    checkpoints = (f"checkpoints.interval={_INTERVALS[size]}", f"checkpoints.interval_until={STEPS[size]}")
    return (fixed_rate("laptop"), f"training.steps={STEPS[size]}", *checkpoints)


def _twins(size: int) -> list[GridRun]:
    """Runs that use, from their first step on, the finished attention of the usual run of equal seed."""
    patch = AttentionOf(FINISHED_AT)
    likely = patch.at(round(FINISHED_AT.step(0, _ENDS[size])))  # until the usual run has ended
    usual = _seeds(USUAL, size, _whole(size))
    twins = _seeds(FINISHED, size, (*_whole(size), *likely))
    return [replace(twin, needs=(run,), settings_from=patch) for twin, run in zip(twins, usual, strict=True)]


def _cosine(size: int) -> tuple[str, ...]:
    steps = round(_COSINE_SHARE * _ENDS[size] / _INTERVALS[size]) * _INTERVALS[size]
    return (fixed_rate("laptop"), "training.schedule=cosine", f"training.steps={steps}")


def _stopping(rate: str) -> tuple[str, ...]:
    return (
        f"training.learning_rate={rate}",
        f"training.steps={_LIMIT}",
        f"training.stop_after_plateau={_MARGIN}",
    )


def _width(width: int) -> tuple[str, ...]:
    if width == 64:  # the laptop's own
        return ()
    return (f"model.d_model={width}", f"model.d_head={width // 4}", f"model.d_hidden={4 * width}")
