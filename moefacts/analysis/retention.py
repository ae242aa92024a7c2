"""Retention: knowledge of persons against how long ago and how often training has shown them.

The two go together, since who is shown more often was on average shown more recently. So knowledge is tabulated by
both, and ``fading`` fits how much less is known of people shown longer ago, among those shown about equally often.

Shape legend: P people.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from moefacts.runs import keys
from moefacts.runs.reader import Run

NUM_SHOWN_RANGES, NUM_SINCE_RANGES = 3, 8


def person_table(run: Run, at_end: bool = False) -> pd.DataFrame | None:
    """The retention probe's rows, one per person and checkpoint, with a column ``knowledge``, in baselines.

    Knowledge is the control loss of a person minus the loss on the person's own values, in held-out templates. None if
    the run has not been probed. ``at_end`` restricts the rows to the checkpoint nearest to the plateau's end.
    """
    table = run.retention_at_end if at_end else run.retention
    if table is None:
        return None
    return table.assign(knowledge=(table[keys.CONTROL_LOSS] - table[keys.ATTRIBUTE_LOSS]) / run.baseline)


def ranges(amount_P: np.ndarray, count: int) -> list[tuple[int, int]]:
    """At most ``count`` ranges of whole numbers, both ends included, with about equally many people in each."""
    shares = np.arange(1, count + 1) / count
    last = np.unique(np.quantile(amount_P, shares, method="inverted_cdf").astype(int))
    first = [int(amount_P.min()), *(last[:-1] + 1)]
    return [(int(low), int(high)) for low, high in zip(first, last, strict=True)]


def range_of(amount_P: np.ndarray, limits: Sequence[tuple[int, int]]) -> np.ndarray:
    """The number of the range that each of ``amount_P`` is in."""
    return np.searchsorted([high for _, high in limits], amount_P)


def two_way_table(people: pd.DataFrame) -> pd.DataFrame:
    """Mean knowledge by times shown and steps since last shown, at one checkpoint.

    The row of people who have not been shown yet, if there are any, comes first: it has 0 times shown and no steps.

    Args:
        people: the rows of ``person_table`` of one checkpoint.

    Returns:
        The columns ``shown_low``, ``shown_high``, ``since_low`` and ``since_high`` (ranges, both ends included; mean
        ``since``), ``num_people``, ``knowledge`` in baselines, and its ``standard_error``.
    """
    rows = []
    never = people[people["times_shown"] == 0]
    if len(never):
        rows.append({"shown_low": 0, "shown_high": 0} | _cell(never))
    shown = people[people["times_shown"] > 0]
    if len(shown):
        shown_limits = ranges(shown["times_shown"].to_numpy(), NUM_SHOWN_RANGES)
        since_limits = ranges(shown["steps_since_shown"].to_numpy(), NUM_SINCE_RANGES)
        shown_of = range_of(shown["times_shown"].to_numpy(), shown_limits)
        since_of = range_of(shown["steps_since_shown"].to_numpy(), since_limits)
        for (group, place), cell in shown.groupby([shown_of, since_of]):
            limits = dict(zip(("shown_low", "shown_high"), shown_limits[group], strict=True))
            limits |= dict(zip(("since_low", "since_high"), since_limits[place], strict=True))
            rows.append(limits | _cell(cell))
    columns = ["shown_low", "shown_high", "since_low", "since_high", "since", "num_people", "knowledge"]
    return pd.DataFrame(rows, columns=[*columns, "standard_error"])


def _cell(people: pd.DataFrame) -> dict[str, float]:
    knowledge = people["knowledge"]
    error = float(knowledge.std(ddof=1) / np.sqrt(len(people))) if len(people) > 1 else float("nan")
    return {
        "since": float(people["steps_since_shown"].mean()),
        "num_people": len(people),
        "knowledge": float(knowledge.mean()),
        "standard_error": error,
    }
