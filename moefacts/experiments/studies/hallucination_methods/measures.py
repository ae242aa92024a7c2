"""What a model that may refuse to answer gets right, makes up and refuses.

It answers about a value where its first choice is a value, not "unknown" or [IDK], and where its teacher-forced
confidence in it is at least ``SURE``.
"""

import numpy as np
import pandas as pd

from moefacts.analysis.phases import phase_measures
from moefacts.runs import keys, tables
from moefacts.runs.reader import Run

SURE = 0.5
LEAST_KNOWN = 0.5  # with less known of seen people, it is too early to speak of what is made up
TOO_EARLY = f"less than {LEAST_KNOWN:.0%} of the values of seen people are known at the end"


def accuracy(run: Run) -> float | None:
    """The share of values of seen people that are known at the end; None if it is too early."""
    known = float(run.curve(keys.ATTRIBUTE_ACCURACY).iloc[-1])
    return known if known >= LEAST_KNOWN else None


def regret(run: Run) -> float | None:
    """The loss on unseen people minus the baseline at the end, in nats; None if it is too early."""
    if accuracy(run) is None:
        return None
    return float(run.curve(keys.ATTRIBUTE_LOSS, keys.UNSEEN).iloc[-1]) - run.baseline


def plateau_end(run: Run) -> float | None:
    """The interpolated step at which the plateau ends; None if it was not reached."""
    end: float | None = phase_measures(run)["plateau_end_interpolated"]
    return end


def answered(table: pd.DataFrame) -> np.ndarray:
    """For every row of the confidence table, whether the model answers."""
    return np.asarray(_confidence(table) >= SURE)


def _rows(run: Run, cohort: str) -> pd.DataFrame | None:
    table = run.confidence
    if table is None or accuracy(run) is None:
        return None
    return table[table["cohort"] == cohort].set_index(["biography", "attribute"]).sort_index()


def hallucination_rate(run: Run) -> float | None:
    """The share of the values of unseen people about which the model answers; None if it is too early."""
    rows = _rows(run, keys.UNSEEN)
    return None if rows is None else float(answered(rows).mean())


def right_at(run: Run, rate: float) -> float | None:
    """The share of seen people's values that are answered rightly where ``rate`` of unseen people's are answered.

    So that methods and a mere threshold can be compared: the confidence from which on the model answers is chosen so
    high that this share of the values of unseen people is above it. None if it is too early.
    """
    seen, unseen = _rows(run, keys.SEEN), _rows(run, keys.UNSEEN)
    if seen is None or unseen is None:
        return None
    threshold = np.quantile(_confidence(unseen), 1 - rate)
    right = seen[keys.ATTRIBUTE_ACCURACY].to_numpy() > 0.5
    return float((right & (_confidence(seen) > max(threshold, 0.0))).mean())


def _confidence(rows: pd.DataFrame) -> np.ndarray:
    """The confidence in every value, and −1 where the model's first choice is no value."""
    confidence = rows[tables.VALUE_CONFIDENCE].to_numpy()
    return np.where(rows[tables.ABSTAINED] > 0.5, -1.0, confidence) if tables.ABSTAINED in rows else confidence


def over_refusal(run: Run, without: Run | None) -> float | None:
    """The share of what the model without the method gets right about seen people, and this one does not answer.

    None if it is too early, or if ``without``, the run of the same seed without the method, is not there.
    """
    ours, theirs = _rows(run, keys.SEEN), None if without is None else _rows(without, keys.SEEN)
    if ours is None or theirs is None:
        return None
    right = (theirs[keys.ATTRIBUTE_ACCURACY] > 0.5).to_numpy()
    return float((~answered(ours))[right].mean())
