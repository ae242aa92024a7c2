"""What does a mixture of experts change about forgetting, and is it its parameters, or its routing?

Dense models and mixtures of equal active and of equal total parameters learn the same new people. If a mixture keeps
more because it has more parameters, one of equal total parameters keeps no more than a dense model. If it keeps more
because an update reaches only the experts that new people use, new people use others than old ones do.
"""

from collections.abc import Sequence
from functools import partial

from moefacts.analysis.forgetting import forgetting_measures, learning_measures
from moefacts.analysis.forgetting_figures import forgetting_figures
from moefacts.analysis.unit import POINTS, Unit
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above
from moefacts.experiments.studies._by_arm import ByArm, Measure, kept_claim
from moefacts.experiments.studies._finetuned import (
    NEW_PEOPLE,
    PEOPLE,
    fine_tuning,
    kept_when_new_known,
    new_people,
)
from moefacts.experiments.studies._kinds import DENSE, EIGHT, EIGHT_TOTAL, MANY, MANY_TOTAL, pretrained
from moefacts.experiments.studies.finetune_methods.grid import ENOUGH, STEPS
from moefacts.runs import keys, tables
from moefacts.runs.reader import Run

_SEEDS = {"laptop": 5, "paper": 1}
_STEPS = {"laptop": (f"training.steps={STEPS}", f"training.stop_at_accuracy={ENOUGH}"), "paper": ()}
_TOKENS = "before_value"  # where a value is predicted
_ROUTER = ("training.method=freeze", "training.freeze=[router]")


def frozen(kind: str) -> str:
    """The name of the arm of a mixture whose router does not learn."""
    return f"{kind}, router frozen"


def _grid(scale: str) -> list[GridRun]:
    learned, cohorts = new_people(NEW_PEOPLE[scale])
    arms: dict[str, tuple[str, tuple[str, ...]]] = {
        kind: (kind, ()) for kind in (DENSE, EIGHT, MANY, EIGHT_TOTAL, MANY_TOTAL)
    }
    arms |= {frozen(kind): (kind, _ROUTER) for kind in (EIGHT, MANY)}
    return [
        fine_tuning(scale, pretrained(scale, seed, kind), learned, cohorts, {"arm": arm}, *settings, *_STEPS[scale])
        for seed in seeds_for(PEOPLE[scale], _SEEDS[scale])
        for arm, (kind, settings) in arms.items()
    ]


def _last_routing(run: Run, column: str) -> float | None:
    """A column of the rerouting probe, of old people at the last checkpoint, where a value is predicted.

    It is the mean over layers; None for a dense model, or before the probe has run.
    """
    table = run.probed(tables.REROUTED)
    if table is None:
        return None
    rows = table[(table["cohort"] == keys.SEEN) & (table["tokens"] == _TOKENS)]
    return float(rows.loc[rows["step"] == rows["step"].max(), column].mean())


def apart(run: Run) -> float | None:
    """How far the experts of old and of new people lie apart, minus the distance by chance (total variation).

    It is that between their shares of assignments; by chance is between as many old people and the other old people.
    """
    distance, chance = (_last_routing(run, column) for column in ("distance_to_learned", "distance_by_chance"))
    return None if distance is None or chance is None else distance - chance


_COLUMNS: dict[str, Measure] = {
    "old before": lambda run: forgetting_measures(run)[keys.SEEN]["accuracy_before"],
    "kept when 50% of new": kept_when_new_known,
    "kept when 90% of new": lambda run: kept_when_new_known(run, 90),
    "steps to 90% of new": lambda run: learning_measures(run)["steps_to_90_new_accuracy"],
    "distance of old to new people's experts": lambda run: _last_routing(run, "distance_to_learned"),
    "by chance": lambda run: _last_routing(run, "distance_by_chance"),
    "old tokens that moved": lambda run: _last_routing(run, "moved"),
}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure what every kind of model keeps, and where its router sends old and new people."""
    arms = ByArm.of_runs(runs)
    note = (
        "Kept: the share of old accuracy that is left. Distances are total variation between shares of assignments to "
        "experts, and moved tokens those that go to other experts than before fine-tuning, all where a value is "
        "predicted, at the last checkpoint. Means over seeds with 95% intervals."
    )
    table, values = arms.table("Old people kept by dense models and mixtures", _COLUMNS, note)
    drawn = arms.groups([DENSE, EIGHT, MANY, EIGHT_TOTAL, MANY_TOTAL])  # frozen routers would lie on the others
    return Findings({"arms": values}, [table], forgetting_figures(drawn) if drawn else {}, arms)


def _apart_claim(kind: str) -> Claim:
    rule = (
        "Total variation distance between the experts of old and of new people where a value is predicted, minus that "
        f"by chance, at the last checkpoint, “{kind}”, averaged over seeds. Holds if its 95% interval lies above 0; "
        "does not hold if it lies below; cannot tell otherwise, or before routing is probed."
    )
    text = f"New people go to other experts than old ones do: {kind}"
    return Claim(text, _NONE, rule, partial(_is_apart, kind), unit=Unit(POINTS, "of assignments to experts"))


def _is_apart(kind: str, arms: ByArm) -> Verdict:
    return arms.mean_verdict(kind, apart, above, 0.0, "routing was not probed")


_NONE = "none published"
_CLAIMS = (
    kept_claim("At equal active parameters 8 experts keep more than a dense model", _NONE, EIGHT, DENSE),
    kept_claim("At equal active parameters 32 experts keep more than a dense model", _NONE, MANY, DENSE),
    kept_claim("At equal total parameters 8 experts keep more than a dense model", _NONE, EIGHT_TOTAL, DENSE),
    kept_claim("At equal total parameters 32 experts keep more than a dense model", _NONE, MANY_TOTAL, DENSE),
    kept_claim("With 8 experts, a frozen router keeps more than one that learns", _NONE, frozen(EIGHT), EIGHT),
    kept_claim("With 32 experts, a frozen router keeps more than one that learns", _NONE, frozen(MANY), MANY),
    _apart_claim(EIGHT),
    _apart_claim(MANY),
)

STUDY = Study(
    name="finetune-moe",
    title="What does a mixture of experts change about forgetting?",
    figure="not in the paper",
    grids={scale: _grid(scale) for scale in _SEEDS},
    claims=dict.fromkeys(_SEEDS, _CLAIMS),
    examine=examine,
    probes=("rerouting",),
)
