"""Tables about hallucination that stand beside that of decisions: by attribute, known people, temperatures."""

from collections.abc import Sequence

import pandas as pd

from moefacts.analysis.decisions import answers_by_cohort, decision_measures
from moefacts.analysis.groups import Group
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.runs import tables
from moefacts.runs.probe_table import ProbeTable

_BY_ATTRIBUTE = {
    "accuracy": "right",
    "confidence": "confidence",
    "value_entropy": "entropy (nats)",
    "loss": "loss (nats)",
    "regret": "regret (nats)",
    "coverage_at_10_risk": "answered at a risk of 10%",
}
_ATTRIBUTES_CAPTION = (
    "Decisions by attribute. Regret is the loss minus ln(values), that of the ideal answer about a stranger, and is "
    "shown of people who were not shown in training."
)
_KNOWN = {
    "auroc_logistic": "logistic regression",
    "auroc_means": "difference of means",
    "auroc_permuted": "permuted labels",
    "auroc_names": "frequency of the name's parts",
    "confidence_unseen": "unseen: confidence",
    "confidence_unseen_added": "with the direction added",
    "confidence_unseen_random": "with a random one added",
    "confidence_seen": "seen: confidence",
    "confidence_seen_subtracted": "with the direction subtracted",
}
_KNOWN_CAPTION = (
    "Whether the state at the end of a name tells known people from strangers: AUROC on people whom the probe was not "
    "fitted to (0.5 is chance), and the model's confidence in the value when the direction between both is added "
    "there. State 0 is the embedding, state n that after layer n. Permuted labels leave only chance; the frequency of "
    "the name's parts in training is what could be told without the model."
)
_TEMPERATURE = {
    "temperature": "temperature",
    "loss": "loss (nats)",
    "loss_scaled": "loss with it (nats)",
    "confidence": "confidence",
    "confidence_scaled": "confidence with it",
    "accuracy": "right",
}
_TEMPERATURE_CAPTION = (
    "One temperature per attribute, fitted after training on some people and tested on others. Losses are sums over "
    "the tokens of a value, each after the true ones."
)


def hallucination_tables(group: Group) -> list[Table]:
    """Decisions by attribute and ``requested_tables``, as far as the runs of a group have been probed for them."""
    by_attribute = _by_attribute(group)
    return ([by_attribute] if by_attribute else []) + requested_tables(group)


def requested_tables(group: Group) -> list[Table]:
    """Known people and temperatures, if they were asked for; cells are means over seeds with their intervals."""
    found = (
        _probed(group, tables.KNOWN_PERSON, ["state"], _KNOWN, _KNOWN_CAPTION),
        _probed(group, tables.TEMPERATURE, ["attribute", "fitted on", "tested on"], _TEMPERATURE, _TEMPERATURE_CAPTION),
    )
    return [cells for cells in found if cells is not None]


def _by_attribute(group: Group) -> Table | None:
    unseen = {name for run in group.runs for name in run.unseen_cohorts}
    parts = []
    for run in group.runs:
        for cohort, answers in answers_by_cohort(run).items():
            for attribute, rows in answers.groupby("attribute", sort=False):
                measured = decision_measures(rows) | ({} if cohort in unseen else {"regret": None})
                parts.append({"cohort": cohort, "attribute": str(attribute), **measured})
    if not parts:
        return None
    return _cells(
        pd.DataFrame(parts), ["cohort", "attribute"], ["people", "attribute"], _BY_ATTRIBUTE, _ATTRIBUTES_CAPTION
    )


def _probed(group: Group, table: ProbeTable, names: list[str], shown: dict[str, str], caption: str) -> Table | None:
    found = [rows for run in group.runs if (rows := run.probed(table)) is not None]
    return _cells(pd.concat(found), list(table.key), names, shown, caption) if found else None


def _cells(rows: pd.DataFrame, key: Sequence[str], names: Sequence[str], shown: dict[str, str], caption: str) -> Table:
    """One row for every value of ``key``; a cell is the estimate over the runs, or a dash where there is no number."""
    cells = []
    for place, part in rows.groupby(list(key), sort=False):
        places = place if isinstance(place, tuple) else (place,)
        found = [estimate([None if pd.isna(x) else float(x) for x in part[column]]) for column in shown]
        cells.append(
            [
                str(one).replace("_", " ") if name == "attribute" else str(one)
                for name, one in zip(key, places, strict=True)
            ]
            + ["–" if one is None else one.text() for one in found]
        )
    return Table(caption, [*names, *shown.values()], cells)
