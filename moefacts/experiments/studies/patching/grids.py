"""The runs of patching: a run with its own attention, and its twins with the attention that it had at some moment."""

from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._arms import arm_runs
from moefacts.experiments.studies._moments import AttentionOf, on_plateau, plateau_ends
from moefacts.experiments.studies._unseen import UNSEEN_RARELY

OWN, UNTRAINED = "own attention", "untrained attention"
# The study's references beyond step 0, and the same moments in terms of phases. With 64,000 people its plateau ends at
# step 3,085. Its start is not published. It lies before step 375, where the plateau of 4,000 people ends, because the
# first phase hardly depends on the number of people (LOG.md). A start between 200 and 375 puts steps 500, 1,000 and
# 2,000 at 5 to 10%, 23 to 28% and 60 to 62% of the plateau. The others are so many plateau ends.
MOMENTS = {
    500: on_plateau(0.07),
    1000: on_plateau(0.25),
    2000: on_plateau(0.6),
    4000: plateau_ends(1.3),
    8000: plateau_ends(2.6),
    16000: plateau_ends(5.2),
}
# The last one is left out on a laptop, because it would take twice the steps.
_REFERENCES = {"laptop": (500, 1000, 2000, 4000, 8000), "paper": tuple(MOMENTS)}
_FROZEN = {"laptop": (1000, 2000, 4000), "paper": (500, 1000, 2000, 4000, 8000)}
SETTINGS = {"laptop": (2048, 2200, 3), "paper": (64000, 16000, 1)}  # people, steps, seeds
# The plateau's start and end, to plan twins before they are known
_LIKELY = {"laptop": (230, 800), "paper": (300, 3085)}
_COMMON = {
    "laptop": (
        *laptop.LAW_SETTINGS,
        "evaluation.biographies=1024",
        "evaluation.interval=20",  # 7% of the plateau are about 40 steps, so its start must be known better than that
        "evaluation.interval_after_plateau=80",
        "evaluation.interval_control=80",
        UNSEEN_RARELY,
        "checkpoints.interval=20",
        "checkpoints.interval_until=1100",
        "checkpoints.num_uniform=10",
    ),
    "paper": (
        "evaluation.interval_control=500",
        UNSEEN_RARELY,
        "checkpoints.interval=100",
        "checkpoints.interval_until=4200",
        "training.compile=false",
    ),
}


def throughout(step: int) -> str:
    """The name of the arm that uses the attention of the moment of the study's ``step`` from its first step on."""
    return f"attention at {MOMENTS[step].name}"


def frozen(step: int) -> str:
    """The name of the arm whose own attention is frozen at the moment of the study's ``step``."""
    return f"attention frozen at {MOMENTS[step].name}"


# Arm -> its settings, which follow from the run with its own attention
_TWINS = {
    scale: {throughout(step): AttentionOf(MOMENTS[step]) for step in _REFERENCES[scale]}
    | {frozen(step): AttentionOf(MOMENTS[step], frozen=True) for step in _FROZEN[scale]}
    for scale in SETTINGS
}


def grid(scale: str) -> list[GridRun]:
    """The runs of a scale."""
    size, steps, seeds = SETTINGS[scale]
    twins = _TWINS[scale]
    arms: dict[str, tuple[str, ...]] = {OWN: (), UNTRAINED: ("patching.reference_step=0",)}
    arms |= {arm: twin.at(round(twin.moment.step(*_LIKELY[scale]))) for arm, twin in twins.items()}
    needs = dict.fromkeys((UNTRAINED, *twins), OWN)
    common = (f"training.steps={steps}", *_COMMON[scale])
    return arm_runs(scale, arms, size, seeds, *common, needs=needs, settings_from=twins)
