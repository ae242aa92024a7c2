"""Which layer does what: the causal measures of ``probes.mechanism`` by layer."""

from typing import Any

import pandas as pd

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


def key_of(title: str) -> str:
    """The name, in JSON and in Python, of a column of the table by layer: ``name_from_name_cut``."""
    return title.lower().replace("←", "from").replace(" ", "_")


def layer_frame(table: pd.DataFrame) -> pd.DataFrame:
    """The table by layer of everything in a table of the mechanism, as numbers.

    Args:
        table: as in ``runs.tables.MECHANISM``.

    Returns:
        A table indexed by step, cohort, values and layer (from 1), with a column for each of ``COLUMNS``, named by
        ``key_of``: means over attributes, NaN where nothing was measured.
    """
    index = ["step", "cohort", "values", "layer"]
    is_shown = pd.MultiIndex.from_frame(table[["measure", "variant", "place"]]).isin(list(COLUMNS.values()))
    shown = table[is_shown].assign(layer=table["layer"] + 1)
    means = shown.groupby([*index, "measure", "variant", "place"], sort=False)["value"].mean()
    wide = means.unstack(["measure", "variant", "place"]).sort_index().reindex(columns=list(COLUMNS.values()))
    wide.columns = pd.Index([key_of(title) for title in COLUMNS])
    return wide


def mechanism_as_json(run: Run) -> list[dict[str, Any]] | None:
    """``layer_frame`` of the last checkpoint as rows: seen and unseen people and the control; None if not probed."""
    if run.mechanism is None:
        return None
    table = layer_frame(run.mechanism[run.mechanism["step"] == run.mechanism["step"].max()]).reset_index()
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
