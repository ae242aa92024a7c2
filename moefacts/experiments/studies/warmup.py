"""Figures I, K and L: on how many people should training begin, and for how long?"""

from collections.abc import Sequence

from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.studies._arms import (
    ACCURACY,
    END,
    EVALUATION,
    LOSS,
    UNIFORM,
    arm_findings,
    arm_runs,
    difference_claim,
    sampling,
)
from moefacts.experiments.studies._trained import final_claim

SHARE, EPOCHS = 4, 8  # the warm-up that the claims are about: a quarter of the people; an epoch is N biographies
_STEPS = {"laptop": {1024: 1000, 2048: 1500}, "paper": {64000: 16000, 128000: 16000}}
_SEEDS = 4
# (n, epochs): one in n people; around the main one, fewer and more people, and shorter and longer times.
_WARMUPS = {
    "laptop": ((8, 8), (4, 4), (SHARE, EPOCHS), (4, 16), (2, 8)),
    "paper": ((8, 2), (8, 4), (8, 8), (4, 4), (SHARE, EPOCHS), (2, 2), (2, 4), (2, 8)),
}


def warmup(size: int, share: int, epochs: float) -> tuple[str, ...]:
    """The overrides of a warm-up on one in ``share`` of ``size`` people."""
    return sampling("warmup", warmup_individuals=size // share, warmup_epochs=epochs)


def name(share: int, epochs: int) -> str:
    """The name of the arm with a warm-up on one in ``share`` people for ``epochs`` epochs."""
    return f"1/{share} of the people for {epochs} epochs"


MAIN, FEWER, SHORTER, LONGER, MORE = name(SHARE, EPOCHS), name(8, 8), name(4, 4), name(4, 16), name(2, 8)


def _grid(scale: str) -> list[GridRun]:
    runs = []
    for size, steps in _STEPS[scale].items():
        arms = {UNIFORM: sampling(UNIFORM)} | {name(*which): warmup(size, *which) for which in _WARMUPS[scale]}
        runs += arm_runs(scale, arms, size, _SEEDS, f"training.steps={steps}", *EVALUATION[scale])
    return runs


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare every warm-up with uniform sampling."""
    note = "Warm-up counts as training: every arm has the same steps. An epoch has as many biographies as people."
    return arm_findings(runs, UNIFORM, "Warm-up on some people, then everybody", note)


_PUBLISHED = "uniform/warm-up, final loss: 64k .0111/.0051; 128k 4.37/.42"
_CLAIMS = (
    final_claim("At equal steps, a warm-up ends with a lower loss", _PUBLISHED, LOSS, MAIN, UNIFORM),
    final_claim("With a warm-up, more is known at the end", "no number published", ACCURACY, MAIN, UNIFORM, 1),
    difference_claim("With a warm-up, everybody's plateau ends earlier", "no number published", END, MAIN, UNIFORM),
)
_CHOICE = (
    final_claim("A warm-up half as long is worse", "no number published", LOSS, MAIN, SHORTER),
    final_claim("A warm-up on half as many people is worse", "no number published", LOSS, MAIN, FEWER),
    final_claim("A warm-up on twice as many people is worse", "no number published", LOSS, MAIN, MORE),
)
_LAPTOP_CHOICE = final_claim("A warm-up twice as long is worse", "no number published", LOSS, MAIN, LONGER)

STUDY = Study(
    name="warmup",
    title="On how many people, and for how long, should training begin?",
    figure="Figures I, K and L",
    grids={scale: _grid(scale) for scale in _STEPS},
    claims={"laptop": (*_CLAIMS, *_CHOICE, _LAPTOP_CHOICE), "paper": (*_CLAIMS, *_CHOICE)},
    examine=examine,
)
