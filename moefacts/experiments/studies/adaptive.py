"""An adaptive curriculum: train on some people until their plateau is over, then on more. Future work in the paper.

It is compared with uniform sampling, the best power law and the best fixed warm-up at equal steps, hence equal tokens.
The power law and the warm-up are tuned: the best at each size counts. The adaptive curriculum is not tuned.
"""

from collections.abc import Sequence
from typing import Any

from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS, Claim, Verdict, cannot_tell
from moefacts.experiments.studies._arms import (
    EVALUATION,
    LOSS,
    UNIFORM,
    Arms,
    arm_findings,
    arm_runs,
    sampling,
)
from moefacts.experiments.studies._trained import STOPPED_EARLY, final_claim, stopped_early
from moefacts.experiments.studies._units import LOSS_NATS
from moefacts.experiments.studies._unseen import UNSEEN_RARELY
from moefacts.experiments.studies.warmup import SHARE, warmup

AT_ONCE, STAGED = "adaptive, at once", "adaptive, in stages"
SIZES_NEEDED = SEEDS_NEEDED = 2  # fewer cannot show whether the curriculum matters at every size
MATTERS = 0.1  # the curriculum matters at a size if it saves more nats of final loss than this in every seed
_STEPS = {"laptop": {1024: 700, 2048: 1200, 4096: 2100}, "paper": dict.fromkeys((16000, 64000, 128000), 16000)}
_SEEDS = 3
_EPOCHS = {"laptop": (8,), "paper": (2, 4, 8)}  # 16 was also tried at laptop scale and is far worse (LOG.md)
_EXPONENTS = {"laptop": (0.6,), "paper": (0.2, 0.4, 0.6)}  # the best of the study at 64k people
_LAPTOP_INTERVAL = {1024: 50, 2048: 50, 4096: 100}


def _evaluation(scale: str, size: int) -> tuple[str, ...]:
    """Evaluation settings that keep evaluations as frequent after the plateau, because the curriculum needs them."""
    if scale == "paper":
        return EVALUATION["paper"]
    interval = _LAPTOP_INTERVAL[size]
    return (
        f"evaluation.interval={interval}",
        f"evaluation.interval_after_plateau={interval}",
        UNSEEN_RARELY,
    )


def _law(exponent: float) -> str:
    return f"power law α = {exponent}"


def _warmup(epochs: int) -> str:
    return f"warm-up for {epochs} epochs"


def _grid(scale: str) -> list[GridRun]:
    runs = []
    for size, steps in _STEPS[scale].items():
        first = size // SHARE
        arms = {UNIFORM: sampling(UNIFORM)}
        arms |= {_law(exponent): sampling("power_law", exponent=exponent) for exponent in _EXPONENTS[scale]}
        arms |= {_warmup(epochs): warmup(size, SHARE, epochs) for epochs in _EPOCHS[scale]}
        arms[AT_ONCE] = sampling("adaptive", initial_individuals=first)
        arms[STAGED] = sampling("adaptive", initial_individuals=first, growth=2)
        runs += arm_runs(scale, arms, size, _SEEDS, f"training.steps={steps}", *_evaluation(scale, size))
    return runs


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare every arm with uniform sampling, and find how much loss the curriculum saves at each size."""
    arms = Arms(runs)
    values: dict[str, Any] = {
        "tokens_of_largest_over_smallest": {size: _tokens_apart(arms, size) for size in arms.sizes},
        "loss_saved_over_uniform": {arm: {n: _saved(arms, arm, n) for n in arms.sizes} for arm in (AT_ONCE, STAGED)},
    }
    note = (
        "Loss and accuracy weigh everybody equally. All arms of a size have the same steps and batches. "
        f"The curricula and the warm-ups begin with one in {SHARE} people. Evaluations do not count as training, "
        "although the adaptive arms also evaluate their active people."
    )
    return arm_findings(runs, UNIFORM, "An adaptive curriculum against tuned alternatives", note, values)


def _tokens_apart(arms: Arms, size: int) -> float | None:
    tokens = [t for run in arms.runs if run.labels["size"] == size and (t := run.measures["tokens"])]
    return max(tokens) / min(tokens) if tokens else None


def _saved(arms: Arms, arm: str, size: int) -> list[float]:
    """The final loss of uniform sampling minus that of ``arm``, in nats, for every seed."""
    ours, theirs = arms.values(LOSS, arm, size), arms.values(LOSS, UNIFORM, size)
    pairs = [(theirs[key], ours[key]) for key in sorted(ours.keys() & theirs.keys())]
    return [uniform - adaptive for uniform, adaptive in pairs if uniform is not None and adaptive is not None]


def _matters_everywhere(arms: Arms) -> Verdict:
    if early := stopped_early(lambda key: arms.values(key, AT_ONCE), lambda key: arms.values(key, UNIFORM)):
        return cannot_tell(early)
    saved = {size: one for size in arms.sizes if (one := _saved(arms, AT_ONCE, size))}
    if len(saved) < SIZES_NEEDED or min(map(len, saved.values())) < SEEDS_NEEDED:
        return cannot_tell(f"there are fewer than {SIZES_NEEDED} sizes, or fewer than {SEEDS_NEEDED} seeds at a size")
    text = "saves " + "; ".join(f"{n:,}: " + ", ".join(f"{x:.2f}" for x in xs) for n, xs in saved.items()) + " nats"
    matters = [size for size, xs in saved.items() if min(xs) > MATTERS]
    if len(matters) == len(saved):
        return Verdict(HOLDS, text)
    not_at = [size for size, xs in saved.items() if max(xs) <= MATTERS]
    if not not_at:
        return cannot_tell(f"{text}; the seeds disagree at some size")
    return Verdict(DOES_NOT_HOLD, f"{text}; does not matter at {', '.join(f'{size:,}' for size in not_at)}")


def _claims(scale: str) -> tuple[Claim, ...]:
    laws = tuple(_law(exponent) for exponent in _EXPONENTS[scale])
    warmups = tuple(_warmup(epochs) for epochs in _EPOCHS[scale])
    none, ends = "none published", "At equal steps the untuned adaptive curriculum ends with a lower loss than"
    return (
        final_claim(f"{ends} uniform sampling", none, LOSS, AT_ONCE, UNIFORM),
        final_claim(f"{ends} the best power law", none, LOSS, AT_ONCE, laws),
        final_claim(f"{ends} the best fixed warm-up", none, LOSS, AT_ONCE, warmups),
        final_claim(
            "Adding people in stages ends with a lower loss than adding them all at once", none, LOSS, STAGED, AT_ONCE
        ),
        Claim(
            "The adaptive curriculum matters whatever the number of people",
            none,
            f"Difference in final attribute loss, uniform sampling minus “{AT_ONCE}”. Holds if it is above {MATTERS} "
            "nats in every seed at every size; does not hold if it is so in no seed of some size; cannot tell "
            f"otherwise or with fewer than {SIZES_NEEDED} sizes of {SEEDS_NEEDED} seeds each. {STOPPED_EARLY}",
            _matters_everywhere,
            unit=LOSS_NATS,
        ),
    )


STUDY = Study(
    name="adaptive",
    title="Does a curriculum that needs no tuning beat tuned ones, and where does it stop mattering?",
    figure="not in the paper",
    grids={scale: _grid(scale) for scale in _STEPS},
    claims={scale: _claims(scale) for scale in _STEPS},
    examine=examine,
)
