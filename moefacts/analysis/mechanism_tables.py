"""Tables of the mechanism for pages and the terminal, with a row for each layer."""

from collections.abc import Sequence

import pandas as pd

from moefacts.analysis.fine_tuning_tables import in_words as weights_in_words
from moefacts.analysis.groups import people_of
from moefacts.analysis.mechanism import (
    COLUMNS,
    OWN,
    PERMUTED,
    READ_AT_NAME,
    READ_AT_VALUE,
    Place,
    by_layer,
    mechanism_of,
    probed,
    probed_steps,
)
from moefacts.analysis.moments import LAST, called, in_words, moments
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.runs.reader import Run

CAPTION = (
    "Layers from the first to the last. Cut: no attention from one to the other, in this layer alone. Ablated: "
    "replaced by the mean over people. Both are changes of the probability of the true value, −100% meaning that "
    "all of it is lost; where it was small from the start, as of people never seen, it can rise many times over. "
    "Read: share of values that are the likeliest of their attribute when the state after the layer is read as if "
    "it were the last; by chance: the same of values permuted over the people. Names the answer: share of answers that "
    "what the layer's attention or MLP adds would give alone. One-sentence prompts in held-out "
    "templates; means over attributes and seeds."
)
RESTORED_CAPTION = (
    "What is still known by the last checkpoint with one group of its weights as it was at an earlier "
    "moment: the more is lost, the more of what was learned since is in it. Accuracy on whole values."
)


_BY_CHANCE: dict[str, Place] = {
    "read at the name by chance": READ_AT_NAME,
    "read before the value by chance": READ_AT_VALUE,
}
_CHANCE_OF = {place: title for title, place in _BY_CHANCE.items()}
# The columns of the first table: where something is read, what is read by chance stands beside it.
WITH_CHANCE: dict[str, Place] = {
    name: place
    for title, place in COLUMNS.items()
    for name in ([title, _CHANCE_OF[place]] if place in _CHANCE_OF else [title])
}
# Title -> what it shows, of neurons and of routers
_NEURONS: dict[str, Place] = {
    f"{title} {where}": ("neurons", measure, place)
    for place, where in (("name", "at the name"), ("value", "before the value"))
    for title, measure in (
        ("concentration", "concentration"),
        ("own values", "own values"),
        ("by chance", "own values by chance"),
    )
}
_ROUTERS: dict[str, Place] = {
    "at the name": ("ablated router", "another person", "name"),
    "before the value": ("ablated router", "another person", "value"),
    "at all tokens": ("ablated router", "another person", "everywhere"),
}
_NEURONS_CAPTION = (
    "Neurons as a key–value memory. Concentration: 0 if all neurons of the layer write alike, near 1 if one does. Own "
    "values: share of the ten strongest neurons that promote a value of the attribute asked for; by chance: of all."
)
_ROUTERS_CAPTION = (
    "Routers that see another person: change of the probability of the true value when tokens go to the experts of "
    "that person's tokens, and experts see what they always see. A dash stands for a layer without a router."
)


def _moments(runs: Sequence[Run]) -> dict[tuple[int, ...], str]:
    """The step of each run -> the moment, in words, that it stands for in all; the last checkpoint comes first.

    Moments that some run has not reached are left out, and those that share a checkpoint in all runs are one.
    """
    each = [moments(run, probed_steps(run)) for run in runs]
    found: dict[tuple[int, ...], list[str]] = {tuple(one[LAST] for one in each): []}
    for name in each[0]:
        if all(name in one for one in each):
            found.setdefault(tuple(one[name] for one in each), []).append(name)
    return {steps: called(names) for steps, names in found.items()}


def layer_cells(runs: Sequence[Run]) -> list[Table]:
    """The table of the last checkpoint on the main cohort, then those of other cohorts, the control and other moments.

    Every moment of a seed, such as its plateau's end, is compared with the same moment of the others.
    """
    found: list[Table] = []
    last = probed_steps(runs[0])[-1]
    note = CAPTION
    if len(runs) == 1:
        note += f" Probed are the checkpoints nearest to {in_words(runs[0], probed_steps(runs[0]))}."
    for steps, moment in _moments(runs).items():
        measured = [one[1:] for one in probed(runs[0]) if one[0] == last] if not found else [(runs[0].cohort, OWN)]
        for cohort, values in measured:
            measures = [mechanism_of(run, step, cohort, values) for run, step in zip(runs, steps, strict=True)]
            controls, columns = [], COLUMNS
            if not found and all((run.cohort, PERMUTED) in [one[1:] for one in probed(run)] for run in runs):
                controls, columns = [mechanism_of(run, values=PERMUTED) for run in runs], WITH_CHANCE
            title = f"{people_of(cohort)}, {_steps_in_words(steps)}" + f" ({moment})" * (moment != LAST)
            title += ", values permuted over people (control)" * (values == PERMUTED)
            found.append(Table(title, ["layer", *columns], _rows(measures, columns, controls), "" if found else note))
    return found


def memory_cells(runs: Sequence[Run]) -> list[Table]:
    """Neurons, and routers in mixtures, at the last checkpoint on the main cohort, as far as they were measured."""
    measures = [mechanism_of(run) for run in runs]
    return [
        Table(caption, ["layer", *columns], _rows(measures, columns))
        for caption, columns in ((_NEURONS_CAPTION, _NEURONS), (_ROUTERS_CAPTION, _ROUTERS))
        if all(len(by_layer(one, place)) for one in measures for place in columns.values())
    ]


def restored_cells(runs: Sequence[Run]) -> Table | None:
    """What is left with one group of weights as it was at each earlier moment; None if no run has any."""
    tables = [table for run in runs if (table := run.mechanism_restored) is not None]
    earlier = {
        steps: moment
        for steps, moment in list(_moments(runs).items())[1:]
        if len(tables) == len(runs)
        and all(step in set(table["since"]) for step, table in zip(steps, tables, strict=True))
    }
    if not earlier:
        return None
    each = [table.set_index(["since", "group"])["attribute_accuracy"] for table in tables]
    columns = [f"accuracy, as at {moment} ({_steps_in_words(steps)})" for steps, moment in earlier.items()]
    rows = []
    for group in each[0].index.unique("group"):
        values = [[one.get((step, group)) for one, step in zip(each, steps, strict=True)] for steps in earlier]
        rows.append([weights_in_words(group), *(share_text(column) for column in values)])
    return Table(RESTORED_CAPTION, ["restored", *columns], rows)


def share_text(values: Sequence[float | None]) -> str:
    """The mean of shares over runs, as a cell."""
    made = estimate(list(values))
    return "–" if made is None else percent(made.mean, made.low, made.high, made.count)


def _steps_in_words(steps: Sequence[int]) -> str:
    low, high = min(steps), max(steps)
    return f"step {low:,}" if low == high else f"steps {low:,} to {high:,}, by seed"


def _rows(
    measures: Sequence[pd.Series], columns: dict[str, Place], controls: Sequence[pd.Series] = ()
) -> list[list[str]]:
    """One row per layer; columns with a title in ``_BY_CHANCE`` are of ``controls``."""
    num_layers = 1 + max(int(one.index.get_level_values("layer").max()) for one in measures)
    rows = []
    for layer in range(num_layers):
        cells = [str(layer + 1)]
        for title, place in columns.items():
            values = [by_layer(one, place).get(layer) for one in (controls if title in _BY_CHANCE else measures)]
            cells.append(share_text([None if value is None else float(value) for value in values]))
        rows.append(cells)
    return rows


def percent(mean: float, low: float | None, high: float | None, count: int) -> str:
    """A share as a cell, with half of its interval where there are three runs or more."""
    half = f" ± {50 * (high - low):.0f}" if low is not None and high is not None and count > 2 else ""
    return f"{round(100 * mean)}{half}%".replace("-", "−")
