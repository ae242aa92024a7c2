"""Figures 5, right, and N: does it help to show old people again while new ones are learned?

The replay weight w is how many times likelier one old person is drawn than one new one: P(old) = w·N_old / (w·N_old +
N_new). Old people, or a fixed subset of them, come in training templates with their true values, or with
those that the model gave them before it was fine-tuned.
"""

from collections.abc import Sequence
from functools import partial

from moefacts.analysis.forgetting import forgetting_measures, learning_measures
from moefacts.analysis.forgetting_figures import forgetting_figures
from moefacts.analysis.unit import NUMBER, POINTS, Unit
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above
from moefacts.experiments.studies._by_arm import ByArm, Measure
from moefacts.experiments.studies._finetuned import (
    NEW_PEOPLE,
    NOT_KNOWN,
    PEOPLE,
    fine_tuning,
    kept_when_new_known,
    new_people,
    pretraining,
)
from moefacts.runs import keys
from moefacts.runs.reader import Run

_SEEDS = {"laptop": 5, "paper": 1}
_WEIGHTS = {"laptop": (2, 0.5, 0.25, 0.125, 0.03125), "paper": (2, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125)}
_STEPS = {"laptop": 1600, "paper": 4000}  # with replay, the new people are shown less often in as many steps
NONE, SUBSET = "no replay", "an eighth of the old people, weight 2"
SELF = "weight 0.25, values from the model"
REPLAYED, OTHERS = "replayed", "not_replayed"
_DROP_UNTIL = 30  # steps of fine-tuning: the initial drop
_SAME_DROP = 0.8  # of the drop without replay
_LEAST_DROP = 0.05


def weight(value: float) -> str:
    """The name of the arm in which all old people are replayed."""
    return f"weight {value:g}"


MAIN = weight(0.25)


def _replay(value: float, *more: str) -> tuple[str, ...]:
    return ("sampling.kind=replay", f"sampling.replay_weight={value:g}", *more)


def _grid(scale: str) -> list[GridRun]:
    people, runs = PEOPLE[scale], []
    learned, cohorts = new_people(NEW_PEOPLE[scale])
    parts = {
        REPLAYED: {"part_of": keys.SEEN, "stop": people // 8},
        OTHERS: {"part_of": keys.SEEN, "start": people // 8},
    }
    arms: dict[str, tuple[str, ...]] = {NONE: (), **{weight(value): _replay(value) for value in _WEIGHTS[scale]}}
    arms[SUBSET] = _replay(2, f"sampling.replay_cohort={REPLAYED}")
    arms[SELF] = _replay(0.25, "sampling.replay_values=model")
    for seed in seeds_for(people, _SEEDS[scale]):
        first, steps = pretraining(scale, seed), f"training.steps={_STEPS[scale]}"
        for arm, settings in arms.items():
            run = partial(fine_tuning, scale, first, learned, {**cohorts, **parts}, {"arm": arm}, *settings, steps)
            runs.append(run(old=(keys.SEEN, REPLAYED, OTHERS)))
    return runs


def initial_drop(run: Run) -> float:
    """The share of old accuracy that is lost at step ``_DROP_UNTIL``."""
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, keys.SEEN)
    return float(1 - accuracy[accuracy.index <= _DROP_UNTIL].iloc[-1] / accuracy.iloc[0])


def kept_at_90(run: Run) -> float | None:
    """The share of old accuracy that is kept when 90% of the new values are known."""
    return kept_when_new_known(run, 90)


def others_kept_at_90(run: Run) -> float | None:
    """The same of the old people who are never replayed."""
    return kept_when_new_known(run, 90, OTHERS)


_COLUMNS: dict[str, Measure] = {
    "old before": lambda run: forgetting_measures(run)[keys.SEEN]["accuracy_before"],
    f"lost at step {_DROP_UNTIL}": initial_drop,
    "old when 90% of new": lambda run: forgetting_measures(run)[keys.SEEN]["accuracy_when_new_90"],
    "never replayed when 90% of new": lambda run: forgetting_measures(run)[OTHERS]["accuracy_when_new_90"],
    "old at the end": lambda run: forgetting_measures(run)[keys.SEEN]["accuracy_at_end"],
    "new at the end": lambda run: learning_measures(run)["new_accuracy_at_end"],
    "steps to 90% of new": lambda run: learning_measures(run)["steps_to_90_new_accuracy"],
}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure what every way to replay keeps, and what it costs."""
    arms = ByArm.of_runs(runs)
    note = "Shares of values known, in held-out templates, and of accuracy lost. Means over seeds with 95% intervals."
    table, values = arms.table("Old people replayed while new ones are learned", _COLUMNS, note)
    return Findings({"arms": values}, [table], forgetting_figures(arms.groups()) if runs else {}, arms)


def _same_drop(arms: ByArm) -> Verdict:
    """The rule of the claim about the initial drop."""
    without = {seed: initial_drop(run) for seed, run in arms.runs.get(NONE, {}).items()}

    def ratio(run: Run) -> float | None:
        drop = without.get(run.seed)
        return initial_drop(run) / drop if drop is not None and drop > _LEAST_DROP else None

    why = f"without replay, less than {_LEAST_DROP:.0%} of old accuracy is lost by then, or there is no such run"
    return arms.mean_verdict(MAIN, ratio, above, _SAME_DROP, why)


def _kept(text: str, published: str, what: str, ours: str, measure: Measure) -> Claim:
    rule = (
        f"Share of the accuracy on {what} that is kept when 90% of the new values are known, “{ours}” minus “{NONE}”, "
        "over pairs of equal seed. Holds if its 95% interval lies above 0; does not hold if it lies below; cannot tell "
        "otherwise, or if some run never knows 90% of the new values."
    )
    return Claim(
        text, published, rule, partial(_keeps_more, ours, measure), unit=Unit(POINTS, f"of the accuracy on {what} kept")
    )


def _keeps_more(ours: str, measure: Measure, arms: ByArm) -> Verdict:
    return arms.difference_verdict(ours, NONE, measure, above, NOT_KNOWN.replace("half", "90%"))


_CLAIMS = (
    _kept(
        "Replay keeps more of the old people when as much is known of the new",
        "improves the final level (weights 2 to 1/32); no number published",
        "old people",
        MAIN,
        kept_at_90,
    ),
    Claim(
        "Replay does not lessen the initial drop",
        "it does not; no number published",
        f"Share of old accuracy lost at step {_DROP_UNTIL}, “{MAIN}” over “{NONE}”, over pairs of equal seed. Holds if "
        f"its 95% interval lies above {_SAME_DROP:g}; does not hold if it lies below; cannot tell otherwise, or if "
        "without replay less than 5% is lost by then in some run.",
        _same_drop,
        unit=Unit(NUMBER, "times the loss without replay"),
    ),
    _kept(
        "Replaying some old people helps those who are never replayed",
        "none published for this model (a toy of Palit et al.: 0.54 kept becomes 0.62)",
        "old people who are not replayed",
        SUBSET,
        others_kept_at_90,
    ),
    _kept(
        "Replay of what the model itself says keeps more of the old people, too",
        "nearly eliminates forgetting, in large models (arXiv 2605.26097)",
        "old people",
        SELF,
        kept_at_90,
    ),
)

STUDY = Study(
    name="replay",
    title="Does it help to show old people again while new ones are learned?",
    figure="Figures 5, right, and N",
    grids={scale: _grid(scale) for scale in _SEEDS},
    claims=dict.fromkeys(_SEEDS, _CLAIMS),
    examine=examine,
)
