"""Which of the evaluated cohorts training has shown to the model, before fine-tuning or in it, and which it has not."""

from collections.abc import Mapping, Sequence
from typing import Any

from moefacts.config.schema import RunConfig
from moefacts.synthetic_data.cohorts import NEW, STRANGERS, cohort_ranges, common


def is_within(people: range, parts: Sequence[tuple[int, int]]) -> bool:
    """Whether all ``people`` are in the ``parts``, which are in order and include their first but not their last."""
    missing = people.start
    for start, stop in parts:
        if start <= missing < stop:
            missing = stop
    return missing >= people.stop


def _evaluated(settings: RunConfig) -> dict[str, range]:
    """Evaluated cohort -> its individuals; not strangers of training, who are shown, but not with their values."""
    people = cohort_ranges(settings.population.cohorts or {}, settings.population.sizes)
    return {name: people[name] for name in settings.evaluation.cohorts if name != STRANGERS}


def _shown(settings: RunConfig, manifest: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Ranges of the individuals that training has shown, in order."""
    now = [settings.population.cohort_range(name) for name in settings.sampling.cohorts]
    return sorted([(people.start, people.stop) for people in now] + [*map(tuple, manifest.get("seen_before", []))])


def unseen_cohorts(settings: RunConfig, manifest: Mapping[str, Any]) -> list[str]:
    """The evaluated cohorts of which training has shown nobody."""
    shown = [range(*part) for part in _shown(settings, manifest)]
    return [name for name, people in _evaluated(settings).items() if not any(common(people, part) for part in shown)]


def shown_cohort(settings: RunConfig, manifest: Mapping[str, Any]) -> str | None:
    """The evaluated cohort that stands for people whom training has shown: the learned one if it is evaluated.

    Otherwise it is the first of which training has shown everybody; None if there is none.
    """
    shown, learned = _shown(settings, manifest), settings.sampling.cohort
    whole = [name for name, people in _evaluated(settings).items() if is_within(people, shown)]
    return learned if learned in whole else next(iter(whole), None)


def was_seen_before(manifest: Mapping[str, Any], individual: int) -> bool:
    """Whether the training that fine-tuning started from has shown this person."""
    return any(individual in range(*part) for part in manifest.get("seen_before", []))


def shown_in_words(settings: RunConfig, manifest: Mapping[str, Any], individual: int, cohort: str) -> str:
    """Whether training has shown a person of a built-in cohort: "was seen in training"."""
    trained_on = [settings.population.cohort_range(name) for name in settings.sampling.cohorts]
    is_trained_on = any(individual in people for people in trained_on)
    if cohort == STRANGERS:
        return "is a stranger, of whom training may show the name, but none of these facts"
    if was_seen_before(manifest, individual):
        return (
            "was seen before fine-tuning and in it" if is_trained_on else "was seen before fine-tuning, but not in it"
        )
    if is_trained_on:
        return "is new: seen in fine-tuning only" if settings.init.is_on else "was seen in training"
    if cohort == NEW and not settings.init.is_on:
        return "exists in the population but is kept for fine-tuning; it was not seen in training"
    return "exists in the population but was never seen in training"
