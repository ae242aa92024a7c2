"""What the probes of fine-tuning found in a run, as cells of tables."""

import pandas as pd

from moefacts.analysis.table import Table
from moefacts.runs import keys, tables
from moefacts.runs.reader import Run


def probe_cells(run: Run) -> list[Table]:
    """The tables of the probes of fine-tuning that the run has."""
    builders = (
        (_shift, tables.SHIFT),
        (_restored, tables.RESTORED),
        (_corrected, tables.CORRECTED),
        (_rerouted, tables.REROUTED),
        (_experts, tables.EXPERT_CHANGE),
    )
    return [build(table) for build, schema in builders if (table := run.probed(schema)) is not None]


def shift_means(table: pd.DataFrame) -> pd.DataFrame:
    """The shift table averaged over attributes, indexed by step, cohort and tested."""
    return table.groupby(["step", "cohort", "tested"], sort=False).mean(numeric_only=True)


def _shift(table: pd.DataFrame) -> Table:
    names = {
        "common_share": "common part of the shift", "accuracy_before": "before", "accuracy": "after",
        "accuracy_common_only": "before + common part", "accuracy_common_removed": "after − common part",
        "accuracy_random_shift": "before + random shift", "own_half": "after, in own half of values",
    }  # fmt: skip
    caption = (
        "Logits of the first token of a value: z(t) − z(0) = common part of the attribute + rest. The common part is "
        "the mean over people of the cohort, tested on others, and its share is that of the squared shift. Accuracies "
        "are among the first tokens of the attribute's values. Means over attributes."
    )
    rows = []
    for (step, cohort, tested), line in shift_means(table).iterrows():
        rows.append([f"{step:,}", cohort, tested, *(_number(line[name]) for name in names)])
    return Table(caption, ["step", "common part of", "tested on", *names.values()], rows)


def _restored(table: pd.DataFrame) -> Table:
    caption = (
        "Accuracy with one group of weights as it was before fine-tuning. The change is ‖θ₁ − θ₀‖ / ‖θ₀‖ of the group "
        "at the last of these steps."
    )
    last = table[table["step"] == table["step"].max()]
    change = last.drop_duplicates("group").set_index("group")["relative_change"]
    header, lines = _by_step_and_cohort(table, ["group"])
    rows = [[in_words(group), "" if group in WHOLE else _number(change[group]), *cells] for (group,), cells in lines]
    return Table(caption, ["restored", "change", *header], rows)


WHOLE = {"none": "nothing restored", "all": "everything restored"}


def in_words(group: str) -> str:
    """A group of weights, for the reader: layers are counted from 1."""
    kind, _, number = group.partition("_")
    if kind == "layer" and number.isdecimal():
        return f"layer {int(number) + 1}"
    return WHOLE.get(group, group.replace("_", " "))


def _corrected(table: pd.DataFrame) -> Table:
    caption = (
        "Accuracy after corrections that need no training: θ₀ + a (θ₁ − θ₀); the common part of the shift subtracted "
        "from the logits of first tokens; the top singular direction of every matrix's change removed, or, as a "
        "control, a random direction of the same norm (mean of three draws)."
    )
    header, lines = _by_step_and_cohort(table, ["method", "estimated_on", "amount"])
    rows = []
    for (method, estimated_on, amount), cells in lines:
        detail = f"a = {amount:g}" if method == "interpolation" else f"of {estimated_on}" if estimated_on else ""
        rows.append([method.replace("_", " "), detail, *cells])
    return Table(caption, ["method", "setting", *header], rows)


def _by_step_and_cohort(table: pd.DataFrame, index: list[str]) -> tuple[list[str], list[tuple[tuple, list[str]]]]:
    """Accuracies with a column for every step and cohort: the header of these columns, and lines of index and cells."""
    places = table[["step", "cohort"]].drop_duplicates().itertuples(index=False, name=None)
    columns = sorted(places, key=lambda place: place[0])
    accuracy = table.groupby(["step", "cohort", *index])[keys.ATTRIBUTE_ACCURACY].mean().to_dict()
    lines = table[index].drop_duplicates().itertuples(index=False, name=None)
    header = [f"{cohort}, step {step:,}" for step, cohort in columns]
    return header, [(line, [_number(accuracy.get((*place, *line))) for place in columns]) for line in lines]


def _rerouted(table: pd.DataFrame) -> Table:
    caption = (
        "Experts of tokens. Moved is the share of tokens whose first expert is another than before fine-tuning. "
        "Distances are total variation distances of the use of experts: from the learned people, and by chance, which "
        "is that between as many people of the same cohort, drawn at random, and the others."
    )
    names = {"moved": "moved", "distance_to_learned": "distance to learned", "distance_by_chance": "distance by chance"}
    ordered = table.sort_values(["layer", "tokens", "cohort", "step"])
    rows = [
        [str(row["layer"] + 1), row["tokens"].replace("_", " "), row["cohort"], f"{row['step']:,}"]
        + [_number(row[name]) for name in names]
        for _, row in ordered.iterrows()
    ]
    return Table(caption, ["layer", "tokens", "cohort", "step", *names.values()], rows)


def _experts(table: pd.DataFrame) -> Table:
    last = table[table["step"] == table["step"].max()]
    caption = (
        f"Experts at step {last['step'].iloc[0]:,}: the relative change of their weights ‖θ₁ − θ₀‖ / ‖θ₀‖, and the "
        "shares of the assignments of old and of learned people that go to them."
    )
    rows = [
        [str(row.layer + 1), str(row.expert), *map(_number, (row.relative_change, row.old_use, row.learned_use))]
        for row in last.itertuples()
    ]
    return Table(caption, ["layer", "expert", "change", "use by old", "use by learned"], rows)


def _number(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.3f}"
