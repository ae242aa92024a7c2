"""The main results of a finished run, from the end of its files: a list of a hundred runs must not read them whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moefacts.runs import keys, layout
from moefacts.runs.records import last_values

_BASELINE, _PLATEAU_END = "no_knowledge_baseline", "plateau_end"


@dataclass(frozen=True)
class Outcome:
    """What a finished run came to; None where it was not recorded.

    Attributes:
        plateau_end: the first evaluation, in steps, with an attribute loss below the threshold; None also if there is
            none.
        accuracy: attribute accuracy of the cohort whose plateau the run follows, at the last evaluation.
        unseen_loss: attribute loss on unseen people there, as a multiple of the no-knowledge baseline. Above 1, the
            model answers worse about them than one that knows nobody.
    """

    plateau_end: int | None = None
    accuracy: float | None = None
    unseen_loss: float | None = None


def outcome(run: Path, manifest: Mapping[str, Any], cohort: str) -> Outcome:
    """The outcome of the finished run ``run``, whose plateau is that of ``cohort``."""
    metrics, baseline = run / layout.METRICS, manifest.get(_BASELINE)
    of_unseen = keys.evaluation_key(keys.UNSEEN, keys.ATTRIBUTE_LOSS)
    accuracy, unseen = last_values(metrics, keys.evaluation_key(cohort, keys.ATTRIBUTE_ACCURACY), of_unseen)
    return Outcome(
        plateau_end=manifest.get(_PLATEAU_END),
        accuracy=accuracy,
        unseen_loss=None if unseen is None or baseline is None else unseen / baseline,
    )
