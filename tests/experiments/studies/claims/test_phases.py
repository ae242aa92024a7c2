"""The claims about three phases, in every scenario."""

import numpy as np

from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import phases
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run

STUDY = phases.STUDY
PHASES, ON_PLATEAU, EMERGENCE, *ACCURACIES = texts(STUDY, "paper")
NUM_SEEDS = 5


def runs(leaves=250, num_seeds=NUM_SEEDS, **shape):
    """Seeds whose plateaus end near ``leaves``; the laptop's grid, because evaluations of the paper's are many."""
    grid = STUDY.grids["laptop"][:num_seeds]
    return [made_up_run(run, leaves + 5 * n, **({"last": 900} | shape)) for n, run in enumerate(grid)]


def accuracy(of):
    """``extra`` of a run whose accuracy is ``of(step)``."""
    return lambda step: {"eval/seen/attribute_accuracy": float(of(step))}


def scattered(of):
    """Seeds with accuracies ``of`` (step, draw), where draws differ between seeds."""
    random = np.random.default_rng(0)
    draws = random.uniform(size=NUM_SEEDS)
    grid = STUDY.grids["laptop"]
    return [
        made_up_run(run, 250, last=900, extra=accuracy(lambda step, d=draw: of(step, d)))
        for run, draw in zip(grid, draws, strict=True)
    ]


def as_published(offset=0.0, last=16000, spread=0.0):
    """Seeds with the published accuracies plus ``offset``, evaluated every 500 steps."""
    steps, shares = zip(*phases.PUBLISHED_ACCURACY.items(), strict=True)
    shares = np.clip(np.array(shares) + offset * np.where(np.array(shares) > 0.5, -1, 1), 0, 1)
    made = []
    sparse = GridRun(("evaluation.interval=500", "evaluation.interval_unseen=500"))
    for seed in range(NUM_SEEDS):
        given = np.clip(shares + spread * (seed - 2), 0, 1)
        made.append(
            made_up_run(
                sparse, 3000, last=last, seed=seed, extra=accuracy(lambda step, g=given: np.interp(step, steps, g))
            )
        )
    return made


def one_undetermined():
    """Seeds with three phases and one whose loss hovers around the threshold."""
    hovers = made_up_run(
        STUDY.grids["laptop"][0], 5000, last=900, plateau=1.0,
        extra=lambda step: {"eval/seen/attribute_loss": BASELINE * (2 if step < 60 else 0.98 if step % 80 else 1.0)},
    )  # fmt: skip
    return [hovers, *runs()[1:]]


CASES = [
    Case(HOLDS, runs, (PHASES, ON_PLATEAU, EMERGENCE)),
    Case(DOES_NOT_HOLD, lambda: runs(250, start=240), (PHASES,), "in 0 of 5 seeds"),
    Case(DOES_NOT_HOLD, lambda: [*runs(250, start=240)[:1], *runs()[1:]], (PHASES,), "in 4 of 5 seeds"),
    Case(DOES_NOT_HOLD, lambda: scattered(lambda step, draw: 0.1 + 0.01 * draw), (ON_PLATEAU, EMERGENCE)),
    # It stops before the plateau begins, before it ends, and soon after it has ended
    Case(TOO_SHORT, lambda: runs(5000, start=1000, last=40), (PHASES, ON_PLATEAU), "stopped at step 40 before its plateau began"),
    Case(TOO_SHORT, lambda: runs(5000, start=1000, last=40), (EMERGENCE,), "seeds 102400, 102401, 102402, 102403, 102404: stopped at step 40 before"),
    Case(TOO_SHORT, lambda: runs(5000, last=240), (PHASES, ON_PLATEAU, EMERGENCE), "at step 240 before its plateau ended"),
    Case(TOO_SHORT, lambda: runs(last=360), (EMERGENCE,), "stopped at step 360, soon after its plateau ended at step 2"),
    Case(TOO_SHORT, lambda: [*runs(5000, last=240)[:1], *runs()[1:]], (PHASES,), "in 4 of 5 seeds; cannot tell in 1"),
    Case(TOO_NOISY, one_undetermined, (PHASES,), "cannot tell in 1 (seed 102400: the loss ends within noise of the threshold)"),
    Case(TOO_NOISY, lambda: runs(num_seeds=1), (PHASES,), "fewer than 2 decide nothing"),
    Case(TOO_NOISY, lambda: runs(num_seeds=1), (ON_PLATEAU, EMERGENCE), "too few seeds"),
    Case(TOO_NOISY, lambda: scattered(lambda step, draw: draw * (0.1 if step < 300 else 1)), (ON_PLATEAU, EMERGENCE)),
    Case(HOLDS, as_published, ACCURACIES, scale="paper"),
    Case(DOES_NOT_HOLD, lambda: as_published(offset=0.2), ACCURACIES, scale="paper"),
    Case(TOO_SHORT, lambda: as_published(last=2500), ACCURACIES, "every run stopped before step", scale="paper"),
    Case(TOO_NOISY, lambda: as_published(offset=0.1, spread=0.05), ACCURACIES, scale="paper"),
]  # fmt: skip


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
