"""Which of the evaluated cohorts training has shown to the model, before fine-tuning or in it, and which it has not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moefacts.synthetic_data.cohorts import common

if TYPE_CHECKING:
    from moefacts.runs.reader import Run


def is_within(people: range, parts: Sequence[tuple[int, int]]) -> bool:
    """Whether all ``people`` are in the ``parts``, which are in order and include their first but not their last."""
    missing = people.start
    for start, stop in parts:
        if start <= missing < stop:
            missing = stop
    return missing >= people.stop


def _shown(run: "Run") -> list[tuple[int, int]]:
    """Ranges of the individuals that training has shown, in order."""
    now = [run.people[name] for name in run.settings.sampling.cohorts]
    return sorted([(people.start, people.stop) for people in now] + [*map(tuple, run.manifest.get("seen_before", []))])


def unseen_cohorts(run: "Run") -> list[str]:
    """The evaluated cohorts of which training has shown nobody."""
    shown = [range(*part) for part in _shown(run)]
    evaluated = [name for name in run.cohorts if name in run.people]
    return [name for name in evaluated if not any(common(run.people[name], part) for part in shown)]


def shown_cohort(run: "Run") -> str | None:
    """The evaluated cohort that stands for people whom training has shown: the learned one if it is evaluated.

    Otherwise it is the first of which training has shown everybody; None if there is none.
    """
    whole = [name for name in run.cohorts if name in run.people and is_within(run.people[name], _shown(run))]
    return run.learned_cohort if run.learned_cohort in whole else next(iter(whole), None)
