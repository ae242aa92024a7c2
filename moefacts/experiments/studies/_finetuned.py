"""Runs that fine-tune a run of the same study's grid, and measures of what they kept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moefacts.analysis.comparison import Bounds
from moefacts.analysis.forgetting import forgetting_measures, learning_measures
from moefacts.analysis.phases import steps_to_accuracy
from moefacts.config.finetuning import RATE_OVER, finetuning_defaults
from moefacts.config.identity import digest
from moefacts.config.overrides import quoted, value_text
from moefacts.errors import UserError
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies import _laptop as laptop
from moefacts.runs import keys, layout
from moefacts.runs.reader import Run
from moefacts.synthetic_data.cohorts import NEW, UNSEEN

Cohorts = Mapping[str, Mapping[str, Any]]

PEOPLE = {"laptop": 512, "paper": 64000}
NEW_PEOPLE = {"laptop": 128, "paper": 4000}
NOT_KNOWN = "half of the new values are not known"
KNOWN, HALF_KNOWN = 0.95, 0.5  # pretraining ends with this accuracy on the people it is about
_PRETRAINING = {
    "laptop": (*laptop.SETTINGS, "training.steps=4000", "evaluation.biographies=512", "evaluation.interval=50"),
    "paper": (),
}
_RATES = {"laptop": float(laptop.LEARNING_RATE), "paper": 4e-4}
_STEPS = {"laptop": 800, "paper": 4000}
_EVALUATION = {
    "laptop": ("evaluation.interval=40", "evaluation.interval_after_plateau=40"),
    "paper": ("evaluation.interval=100", "evaluation.interval_after_plateau=100"),
}
# What is planned, since methods may need to know that weights come from another run; ``StartingFrom`` replaces it.
_UNTIL_FIRST_IS_FINISHED = ("init.run=pretraining", "init.step=0", "init.source=pretraining")
_ALSO_AT = "evaluation.also_at=[1,2,5,10,20,30,50,60,100]"


def pretraining(
    scale: str, seed: int, *settings: str, known: float | None = KNOWN, people: int | None = None
) -> GridRun:
    """The run that others start from: trained until ``known`` of the values of its people are known.

    Args:
        scale: laptop or paper. At paper scale it is the study's own run, whatever is known at its end.
        seed: of all runs that start from it, too.
        settings: further overrides, such as the model.
        known: an accuracy in held-out templates; None means that all steps are taken.
        people: their number; None means ``PEOPLE`` of the scale.
    """
    stop = () if known is None or scale == "paper" else (f"training.stop_at_accuracy={known}",)
    overrides = (f"population.size={people or PEOPLE[scale]}", *_PRETRAINING[scale], *stop, *settings, f"seed={seed}")
    return GridRun(overrides, None if known is None else _LIKELY.get(known), {})


_LIKELY = {KNOWN: 1200, HALF_KNOWN: 700}  # steps until a laptop run stops


def fine_tuning_rate(scale: str) -> float:
    """The learning rate of fine-tuning: that of pretraining over ``RATE_OVER``."""
    return _RATES[scale] / RATE_OVER


def new_people(number: int) -> tuple[str, Cohorts]:
    """The name of the cohort of the first ``number`` new people, and the cohort."""
    return f"new_{number}", {f"new_{number}": {"part_of": NEW, "stop": number}}


def fine_tuning(
    scale: str,
    first: GridRun,
    learned: str,
    cohorts: Cohorts,
    labels: dict[str, Any],
    *settings: str,
    old: Sequence[str] = (keys.SEEN,),
) -> GridRun:
    """The run that learns a cohort from the weights at the end of ``first``.

    It has the settings of ``moefacts finetune``, a regular evaluation schedule after an early dense one, and then
    ``settings``.

    Args:
        scale: laptop or paper.
        first: the run to start from.
        learned: the cohort.
        cohorts: all named cohorts: name -> settings.
        labels: the labels of the run.
        settings: further overrides.
        old: the cohorts to evaluate besides it, and besides people never seen.
    """
    changed = {
        "training.learning_rate": fine_tuning_rate(scale),
        "training.steps": _STEPS[scale],
        "population.cohorts": cohorts,
        "sampling.cohort": learned,
        "evaluation.cohorts": [learned, *old, UNSEEN],
    }
    overrides = {key: value_text(value) for key, value in (finetuning_defaults() | changed).items()}
    texts = (*first.overrides, *(f"{key}={value}" for key, value in overrides.items()), *_EVALUATION[scale], _ALSO_AT)
    settings = (*settings, *_UNTIL_FIRST_IS_FINISHED)
    return GridRun(last_of_each(*texts, *settings), None, labels, (first,), StartingFrom())


def last_of_each(*overrides: str) -> tuple[str, ...]:
    """The overrides without those that a later one of the same setting replaces."""
    return tuple({text.partition("=")[0]: text for text in overrides}.values())


@dataclass(frozen=True)
class StartingFrom:
    """Settings that start a run from the newest checkpoint of the only run that it needs (``GridRun.settings_from``).

    Attributes:
        at_least: the accuracy that the run must have ended with; less cannot be decided.
    """

    at_least: float | None = None

    def __call__(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """The overrides.

        Raises:
            UserError: it has no checkpoint, or it ended with less accuracy.
        """
        (source,) = runs
        steps = layout.checkpoint_steps(source.path)
        if not steps:
            raise UserError(f"{source.path} has no checkpoint to start from")
        accuracy = float(source.curve(keys.ATTRIBUTE_ACCURACY).iloc[-1])
        if self.at_least is not None and accuracy < self.at_least:
            raise UserError(
                f"the run to start from knows {accuracy:.1%} of its people's values, less than {self.at_least:.0%}"
            )
        return (
            f"init.run={quoted(str(source.path))}",
            f"init.step={steps[-1]}",
            f"init.source={digest(source.settings)}",
        )


def kept_when_new_known(run: Run, level: int = 50, cohort: str = keys.SEEN) -> float | None:
    """The share of the accuracy on old people that is left when ``level`` per cent of the new values are known.

    None if they are not, or if nothing was known of the old people.
    """
    measures = forgetting_measures(run).get(cohort)
    if measures is None or not measures["accuracy_before"]:
        return None
    left = measures[f"accuracy_when_new_{level}"]
    return None if left is None else float(left / measures["accuracy_before"])


def steps_to_half_of_new(run: Run) -> Bounds:
    """The step at which half of the new people's values are known; bounds if they never are."""
    step = learning_measures(run)["steps_to_50_new_accuracy"]
    return (float(run.evaluations.index[-1]), math.inf) if step is None else (float(step), float(step))


def steps_to_half_of_old(run: Run, cohort: str = keys.SEEN) -> Bounds:
    """The step at which half of the accuracy on old people is lost; bounds if it never is."""
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, cohort)
    step = steps_to_accuracy(accuracy.index.to_numpy(), -accuracy.to_numpy(), -accuracy.iloc[0] / 2)
    return (float(accuracy.index[-1]), math.inf) if step is None else (float(step), float(step))
