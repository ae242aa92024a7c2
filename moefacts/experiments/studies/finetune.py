"""Figures 5, middle, N and O: what becomes of what a model knew while it learns new people?"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from moefacts.analysis.comparison import Value, paired_difference
from moefacts.analysis.forgetting import forgetting_measures, learning_measures
from moefacts.analysis.forgetting_figures import forgetting_figures
from moefacts.analysis.unit import RATIO, SHARE, Unit
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below, cannot_tell
from moefacts.experiments.studies._by_arm import ByArm, Measure, kept_claim
from moefacts.experiments.studies._finetuned import (
    HALF_KNOWN,
    KNOWN,
    NEW_PEOPLE,
    NOT_KNOWN,
    PEOPLE,
    fine_tuning,
    kept_when_new_known,
    new_people,
    pretraining,
    steps_to_half_of_new,
    steps_to_half_of_old,
)
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.runs import keys
from moefacts.runs.reader import Run

_SEEDS = {"laptop": 5, "paper": 1}
_STABLE = 0.8  # attention is stable if this much of its preference for names is left
_FEW, _MANY = {"laptop": 32, "paper": 1000}, {"laptop": 512, "paper": 16000}
_NARROW = ("model.d_model=32", "model.d_head=8", "model.d_hidden=128")
MAIN, HALF, NARROW, FEW, MANY = "main", "half known before", "half as wide", "few new people", "many new people"


def _grid(scale: str) -> list[GridRun]:
    runs = []
    for seed in seeds_for(PEOPLE[scale], _SEEDS[scale]):
        known = pretraining(scale, seed)
        usual = NEW_PEOPLE[scale]
        arms = {MAIN: (known, usual), FEW: (known, _FEW[scale]), MANY: (known, _MANY[scale])}
        if scale == "laptop":
            arms |= {
                HALF: (pretraining(scale, seed, known=HALF_KNOWN), usual),
                NARROW: (pretraining(scale, seed, *_NARROW), usual),
            }
        runs += [fine_tuning(scale, first, *new_people(number), {"arm": arm}) for arm, (first, number) in arms.items()]
    return runs


# Title -> measure of a run, for the table
_COLUMNS: dict[str, Measure] = {
    "old before": lambda run: _old(run)["accuracy_before"],
    "lowest old": lambda run: float(run.curve(keys.ATTRIBUTE_ACCURACY, keys.SEEN).min()),
    "old when half of new": lambda run: _old(run)["accuracy_when_new_50"],
    "old when 90% of new": lambda run: _old(run)["accuracy_when_new_90"],
    "old at the end": lambda run: _old(run)["accuracy_at_end"],
    "new at the end": lambda run: learning_measures(run)["new_accuracy_at_end"],
    "steps to half of new": lambda run: learning_measures(run)["steps_to_50_new_accuracy"],
    "steps to 90% of new": lambda run: learning_measures(run)["steps_to_90_new_accuracy"],
}


def _old(run: Run) -> dict[str, Any]:
    return forgetting_measures(run)[keys.SEEN]


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure what every run kept of the old people when it knew the new ones."""
    arms = ByArm.of_runs(runs)
    note = "Shares of values known, in held-out templates. Means over seeds with 95% intervals."
    table, values = arms.table("Old and new people", _COLUMNS, note)
    return Findings({"arms": values}, [table], forgetting_figures(arms.groups()) if runs else {}, arms)


def preference_kept(run: Run) -> float | None:
    """How much of the preference for names is left at the last checkpoint, 1 meaning all.

    Preference is the share of attention that the token before a value gives to name tokens, minus that of attention
    without preference, summed over the layers in which it was positive at step 0. None before the attention probe has
    run.
    """
    table = run.attention
    if table is None:
        return None
    rows = table[table["signature"] == "attribute_to_name"]
    over = rows.assign(over=rows["value"] - rows["reference"]).pivot(index="step", columns="layer", values="over")
    first, last = over.iloc[0].to_numpy(), over.iloc[-1].to_numpy()
    preferring = first > 0
    return float(last[preferring].sum() / first[preferring].sum()) if preferring.any() else None


def _faster(arms: ByArm) -> Verdict:
    old, new = arms.of(MAIN, steps_to_half_of_old), arms.of(MAIN, steps_to_half_of_new)
    neither = [seed for seed in old if _never(old[seed]) and _never(new[seed])]
    if neither:
        return cannot_tell(f"in {len(neither)} of {len(old)} runs neither is half of old lost nor half of new known")
    return decide_paired(paired_difference(old, new, log_ratio), partial(below, bound=0.0))


def _never(step: Value) -> bool:
    return isinstance(step, tuple) and math.isinf(step[1])


_CLAIMS = (
    Claim(
        "Old knowledge is lost faster than new knowledge comes",
        "it collapses within the first few hundred steps, new knowledge comes slowly",
        "Log ratio of the steps until half of the accuracy on old people is lost, to the steps until half of the new "
        "people's values are known. Holds if its 95% interval lies below 0; does not hold if it lies above; cannot "
        "tell otherwise, or if in some run neither happens. Where one does not happen, the run's steps are a bound.",
        _faster,
        unit=Unit(RATIO, "the steps until half of the new values are known"),
    ),
    Claim(
        "It collapses although the new people's values come from the whole pools",
        "collapses (this study); slow erosion without a collapse (Palit et al.)",
        "Share of old accuracy kept when half of the new values are known. Holds if its 95% interval lies below 0.5; "
        "does not hold if it lies above; cannot tell otherwise, or if some run never knows half of the new values.",
        lambda arms: arms.mean_verdict(MAIN, kept_when_new_known, below, 0.5, NOT_KNOWN),
        unit=Unit(SHARE, "of old accuracy kept"),
    ),
    Claim(
        "Attention patterns stay stable",
        "stable; no number published",
        "Share of the preference for names that attention before values has at step 0 and still has at the end, in "
        f"excess of attention without preference. Holds if its 95% interval lies above {_STABLE:g}; does not hold if "
        "it lies below; cannot tell otherwise.",
        lambda arms: arms.mean_verdict(MAIN, preference_kept, above, _STABLE, "attention was not probed"),
        unit=Unit(SHARE, "of the preference for names kept"),
    ),
)
_MORE_CLAIMS = (
    kept_claim(
        f"Who knew {KNOWN:.0%} before keeps a larger share than who knew {HALF_KNOWN:.0%}",
        "none published",
        MAIN,
        HALF,
        1,
    ),
    kept_claim("A model twice as wide keeps a larger share", "none published", MAIN, NARROW, 1),
    kept_claim(
        "Many new people cost more than few, when half of their values are known", "none published", MANY, FEW, -1
    ),
)

STUDY = Study(
    name="finetune",
    title="What becomes of what a model knew while it learns new people?",
    figure="Figures 5, middle, N and O",
    grids={scale: _grid(scale) for scale in _SEEDS},
    claims={"laptop": (*_CLAIMS, *_MORE_CLAIMS), "paper": _CLAIMS},
    examine=examine,
    probes=("attention",),
)
