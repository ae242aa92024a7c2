"""Figures 4, right, and J: uniform, Zipf, celebrities, warm-up, and the warm-up's people alone, at equal steps."""

from collections.abc import Sequence

from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.studies._arms import (
    ACCURACY,
    EVALUATION,
    LOSS,
    UNIFORM,
    arm_findings,
    arm_runs,
    sampling,
)
from moefacts.experiments.studies._trained import final_claim
from moefacts.experiments.studies.warmup import EPOCHS, SHARE

ZIPF, CELEBRITIES, WARMUP, SUBSET = "Zipf", "celebrities", "warm-up", "only the warm-up's people"
CELEBRITY_SHARE, CELEBRITY_WEIGHT = 16, 8  # one in 16 people, 8 times as likely: the study's numbers in figure P
_STEPS = {"laptop": {512: 600, 1024: 1000}, "paper": dict.fromkeys((64000, 128000, 256000), 16000)}
_SEEDS = 4
_SUBSET_SIZE = {"laptop": 1024, "paper": 128000}  # the population size at which the control is trained
_PAPER_SUBSET = 83_000  # the number of people in the study's control and in the warm-up that it is compared with
_WHOLE_RUN = 10**6  # so many epochs that the warm-up never ends
_PUBLISHED_LOSS = "uniform/Zipf/warm-up: 64k .0111/.0134/.0051; 128k 4.37/2.14/.42; 256k 6.59/5.69/5.68"


def _grid(scale: str) -> list[GridRun]:
    runs = []
    for size, steps in _STEPS[scale].items():
        controlled = size == _SUBSET_SIZE[scale]
        people = _PAPER_SUBSET if controlled and scale == "paper" else size // SHARE
        arms = {
            UNIFORM: sampling(UNIFORM),
            ZIPF: sampling("power_law", exponent=1.0),
            CELEBRITIES: sampling(
                "celebrities", num_celebrities=size // CELEBRITY_SHARE, celebrity_weight=CELEBRITY_WEIGHT
            ),
            WARMUP: sampling("warmup", warmup_individuals=people, warmup_epochs=EPOCHS),
        }
        if controlled:
            arms[SUBSET] = sampling("warmup", warmup_individuals=people, warmup_epochs=_WHOLE_RUN)
        runs += arm_runs(scale, arms, size, _SEEDS, f"training.steps={steps}", *EVALUATION[scale])
    return runs


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare every distribution with uniform sampling."""
    note = (
        "Loss and accuracy weigh everybody equally, however often training showed them. The study does not publish the "
        f"settings of its warm-up and celebrities. Here the warm-up shows one in {SHARE} people for {EPOCHS} epochs, "
        f"and one in {CELEBRITY_SHARE} people is a celebrity, shown {CELEBRITY_WEIGHT} times as often as the rest."
    )
    return arm_findings(runs, UNIFORM, "Who is shown how often", note)


_CLAIMS = (
    final_claim(
        "Of all distributions, warm-up ends with the lowest loss",
        _PUBLISHED_LOSS,
        LOSS,
        WARMUP,
        (UNIFORM, ZIPF, CELEBRITIES),
    ),
    final_claim("Warm-up ends with a lower loss than uniform sampling", _PUBLISHED_LOSS, LOSS, WARMUP, UNIFORM),
    final_claim("Zipf ends with a lower loss than uniform sampling", _PUBLISHED_LOSS, LOSS, ZIPF, UNIFORM),
    final_claim(
        "At equal steps, warm-up leaves more known of everybody than training on the warm-up's people alone",
        "128k: 94.92% against 63.26% for 83k people only",
        ACCURACY,
        WARMUP,
        SUBSET,
        1,
    ),
)

STUDY = Study(
    name="distributions",
    title="Does it pay to show some people more often, or first?",
    figure="Figures 4, right, and J",
    grids={scale: _grid(scale) for scale in _STEPS},
    claims=dict.fromkeys(_STEPS, _CLAIMS),
    examine=examine,
)
