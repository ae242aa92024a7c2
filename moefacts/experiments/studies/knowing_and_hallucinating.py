"""Is hallucination the price of knowledge? Regret against accuracy while models of all kinds learn the same people.

Mixtures of experts know more than a dense model after the same steps, and their loss on people never seen is higher. To
tell the one from the other, regret is compared where equally much is known, at many levels: if it is a function of
accuracy alone, all models move along one curve.
"""

from collections.abc import Sequence
from functools import partial

from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._by_arm import ByArm, Measure
from moefacts.experiments.studies._units import UNSEEN_BASELINES
from moefacts.experiments.studies.hallucination import inside, regret
from moefacts.runs.reader import Run

DENSE = "dense"
_EIGHT = "model=moe_laptop"
MIXTURES = {
    "8 experts, 2 per token": (_EIGHT,),
    "32 experts, 1 per token": ("model=moe_laptop_switch",),
    "8 experts, soft": (_EIGHT, "model.moe.kind=soft"),
    "8 experts that choose tokens": (_EIGHT, "model.moe.kind=expert_choice"),
}
CURRICULA = {
    "warm-up": ("sampling.kind=warmup", "sampling.warmup_individuals=256", "sampling.warmup_epochs=10"),
    "celebrities": ("sampling.kind=celebrities", "sampling.num_celebrities=64", "sampling.celebrity_weight=8"),
    "power law": ("sampling.kind=power_law", "sampling.exponent=0.8"),
}
_SIZE, _SEEDS = 1024, 4
_FIRST_SEED = 40  # the runs of other studies, whose curves have been looked at, have lower ones
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # of the values of seen people known
MARGIN = 0.1  # of the baseline: what counts as equal
_SETTINGS = (
    f"population.size={_SIZE}",
    *laptop.SETTINGS,
    "evaluation.biographies=512",
    "evaluation.interval=40",
    "evaluation.interval_after_plateau=40",
    "training.steps=5000",
    "training.stop_at_accuracy=0.82",
)
_LIKELY_STEPS = 3000
_NOT_KNOWN = f"{LEVELS[-1]:.0%} of the values of seen people are never known"


def _grid() -> list[GridRun]:
    arms: dict[str, tuple[str, ...]] = {DENSE: (), **MIXTURES, **CURRICULA}
    return [
        GridRun((*_SETTINGS, *settings, f"seed={seed}"), _LIKELY_STEPS, {"arm": arm})
        for seed in seeds_for(_SIZE, _FIRST_SEED + _SEEDS)[_FIRST_SEED:]
        for arm, settings in arms.items()
    ]


def mean_regret(run: Run) -> float | None:
    """The regret over the baseline, averaged over ``LEVELS`` of knowledge; None if one of them is not reached."""
    found = [value for level in LEVELS if (value := regret(run, level)) is not None]
    return None if len(found) < len(LEVELS) else sum(found) / len(found) / run.baseline


def _same(ours: str, arms: ByArm) -> Verdict:
    return arms.difference_verdict(ours, DENSE, mean_regret, inside(-MARGIN, MARGIN), _NOT_KNOWN)


def _claim(arm: str) -> Claim:
    whose = f"A mixture ({arm})" if arm in MIXTURES else f"A dense model trained with a curriculum ({arm})"
    return Claim(
        f"{whose} hallucinates as much as a dense model that knows as much",
        "none published",
        f"Loss on people never seen minus the baseline, over the baseline, averaged over where {LEVELS[0]:.0%} "
        f"to {LEVELS[-1]:.0%} of the values of seen people are known, minus the same of the dense model, over pairs of "
        f"equal seed. Holds if its 95% interval lies inside ±{MARGIN:g}; does not hold if it lies outside; cannot tell "
        f"otherwise, or if in some run {_NOT_KNOWN}.",
        partial(_same, arm),
        unit=UNSEEN_BASELINES,
    )


def _at(level: float) -> Measure:
    def over_baseline(run: Run) -> float | None:
        found = regret(run, level)
        return None if found is None else found / run.baseline

    return over_baseline


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """The regret of every arm where equally much is known."""
    arms = ByArm.of_runs(runs)
    columns = {f"{level:.0%} known": _at(level) for level in LEVELS} | {"mean": mean_regret}
    note = (
        "Regret: the loss on people never seen minus the no-knowledge baseline, over the baseline, where so many "
        "values of seen people are known. Means over seeds with 95% intervals."
    )
    table, values = arms.table("Regret at equal knowledge", columns, note)
    lines = [
        Series(arm, {level: [_at(level)(run) for run in members.values()] for level in LEVELS})
        for arm, members in arms.runs.items()
    ]
    figures = {}
    for name, others in (("mixtures", MIXTURES), ("curricula", CURRICULA)):
        rows = {"": {"regret / baseline": [line for line in lines if line.label == DENSE or line.label in others]}}
        draw = partial(compare_over, rows, "values of seen people known", logarithmic=False)
        figures[f"regret_of_{name}"] = f"Regret where equally much is known: {name}.", draw
    return Findings({"arms": values}, [table], figures if runs else {}, arms)


STUDY = Study(
    name="knowing-and-hallucinating",
    title="Do all models hallucinate as much when they know as much?",
    figure="not in the paper",
    grids={"laptop": _grid()},
    claims={"laptop": tuple(_claim(arm) for arm in (*MIXTURES, *CURRICULA))},
    examine=examine,
)
