"""Which layer does what: the causal measures of ``probes.mechanism`` as one table with a row for each layer."""

from collections.abc import Sequence

import pandas as pd

from moefacts.analysis.fine_tuning_tables import in_words as weights_in_words
from moefacts.analysis.groups import people_of
from moefacts.analysis.moments import LAST, called, in_words, moments
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.runs.reader import Run

OWN, PERMUTED = "own", "permuted"
Place = tuple[str, str, str]  # measure, variant and place, as in ``runs.tables.MECHANISM``
CUT_IN_NAME: Place = ("knock-out", "only", "name from name")
CUT_TO_NAME: Place = ("knock-out", "only", "value from name")
MLP_AT_NAME: Place = ("ablated mlp", "mean", "name")
MLP_AT_VALUE: Place = ("ablated mlp", "mean", "value")
ATTENTION_AT_VALUE: Place = ("ablated attention", "mean", "value")
READ_AT_NAME: Place = ("read", "top 1", "name")
READ_AT_VALUE: Place = ("read", "top 1", "value")
BY_ATTENTION: Place = ("read", "extracted", "attention")
BY_MLP: Place = ("read", "extracted", "mlp")
# Title of a column -> what it shows. The first five are relative changes of the true value's probability.
COLUMNS: dict[str, Place] = {
    "name ← name cut": CUT_IN_NAME,
    "MLP ablated at the name": MLP_AT_NAME,
    "value ← name cut": CUT_TO_NAME,
    "attention ablated before the value": ATTENTION_AT_VALUE,
    "MLP ablated before the value": MLP_AT_VALUE,
    "value read at the name": READ_AT_NAME,
    "value read before the value": READ_AT_VALUE,
    "attention names the answer": BY_ATTENTION,
    "MLP names the answer": BY_MLP,
}
CAPTION = (
    "Layers from the first to the last. Cut: no attention from one to the other, in this layer alone. Ablated: "
    "replaced by the mean over people. Both are changes of the probability of the true value, −100% meaning that "
    "all of it is lost; where it was small from the start, as of people never seen, it can rise many times over. "
    "Read: share of values that are the likeliest of their attribute when the state after the layer is read as if "
    "it were the last. Names the answer: share of answers that what the layer's attention or MLP adds would give "
    "alone. One-sentence prompts in held-out templates; means over attributes and seeds."
)
RESTORED_CAPTION = (
    "What is still known by the last checkpoint with one group of its weights as it was at an earlier "
    "moment: the more is lost, the more of what was learned since is in it. Accuracy on whole values."
)


def has_mechanism(run: Run) -> bool:
    """Whether the run was probed for its mechanism."""
    return run.mechanism is not None


def mechanism_of(run: Run, step: int | None = None, cohort: str | None = None, values: str = OWN) -> pd.Series:
    """The measures of a run, averaged over attributes, indexed by measure, variant, place and layer.

    Args:
        run: it must have been probed.
        step: a probed checkpoint; by default the last.
        cohort: by default the cohort whose plateau the run follows.
        values: ``OWN`` or ``PERMUTED``.
    """
    table = run.mechanism
    assert table is not None, "see has_mechanism"
    step = int(table["step"].max()) if step is None else step
    rows = table[(table["step"] == step) & (table["cohort"] == (cohort or run.cohort)) & (table["values"] == values)]
    return rows.groupby(["measure", "variant", "place", "layer"])["value"].mean()


def by_layer(measures: pd.Series, place: Place) -> pd.Series:
    """One measure at one place by layer; empty if it was not measured."""
    return measures.xs(place) if place in measures.index.droplevel("layer") else pd.Series(dtype=float)


def probed_steps(run: Run) -> list[int]:
    """The checkpoints that were probed, ascending."""
    table = run.mechanism
    return [] if table is None else sorted(table["step"].unique().tolist())


def probed(run: Run) -> list[tuple[int, str, str]]:
    """What was probed: (step, cohort, values), in order."""
    table = run.mechanism
    assert table is not None, "see has_mechanism"
    return list(table[["step", "cohort", "values"]].drop_duplicates().itertuples(index=False, name=None))


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
            title = f"{people_of(cohort)}, {_steps_in_words(steps)}" + f" ({moment})" * (moment != LAST)
            title += ", values permuted over people (control)" * (values == PERMUTED)
            found.append(Table(title, ["layer", *COLUMNS], _rows(measures), "" if found else note))
    return found


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


def _rows(measures: Sequence[pd.Series]) -> list[list[str]]:
    num_layers = 1 + max(int(one.index.get_level_values("layer").max()) for one in measures)
    rows = []
    for layer in range(num_layers):
        cells = [str(layer + 1)]
        for place in COLUMNS.values():
            values = [by_layer(one, place).get(layer) for one in measures]
            cells.append(share_text([None if value is None else float(value) for value in values]))
        rows.append(cells)
    return rows


def percent(mean: float, low: float | None, high: float | None, count: int) -> str:
    """A share as a cell, with half of its interval where there are three runs or more."""
    half = f" ± {50 * (high - low):.0f}" if low is not None and high is not None and count > 2 else ""
    return f"{round(100 * mean)}{half}%".replace("-", "−")
