"""Which facts need which expert of a mixture: those of an attribute, those of a person, or neither.

Shape legend: N prompts (each about one attribute of one person), E experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moefacts.analysis.mechanism_tables import share_text
from moefacts.analysis.table import Table
from moefacts.runs.reader import Run

SILENCED, SWAPPED = "zero", "another person"
_LEAST = 0.05  # a prompt counts where its experts alone cost at least this probability, all together
CAPTION = (
    "What is lost when one expert is silenced, fact by fact. Probability lost: of the true value, mean over facts, "
    "without the expert that costs most. By attribute: how much of which expert a fact needs follows from its "
    "attribute alone; by person: from whom it is about, beyond that; the rest: neither. Both are shares of the "
    "variance over facts that lose 5% or more, corrected for chance (ε²: 0 on average if facts are permuted). "
    "Another person: the same when the expert sees that person's token instead."
)


@dataclass(frozen=True)
class Explained:
    """How much of what experts are needed for follows from attribute and person: sums of squares over facts.

    Attributes:
        attribute, person: those that follow from the attribute, and from the person beyond it, corrected for chance.
        total: all.
        num_prompts: the facts that count.
    """

    attribute: float
    person: float
    total: float
    num_prompts: int

    def __add__(self, other: "Explained") -> "Explained":
        return Explained(
            self.attribute + other.attribute,
            self.person + other.person,
            self.total + other.total,
            self.num_prompts + other.num_prompts,
        )

    @property
    def by_attribute(self) -> float:
        """The share of the attribute."""
        return self.attribute / self.total

    @property
    def by_person(self) -> float:
        """The share of the person beyond it."""
        return self.person / self.total


def explain(lost_NE: np.ndarray, attribute_N: np.ndarray, person_N: np.ndarray) -> Explained | None:
    """Explain the shares of experts in what each fact loses; None with nothing to explain.

    A fact's experts share what it loses when each is changed alone, gains counting as nothing. The shares of a fact
    sum to 1, so that facts that lose more do not count more. Both parts are corrected as ε² is (Kelley 1935): by the
    mean square that is left, for each degree of freedom.
    """
    lost_NE = np.maximum(lost_NE, 0.0)
    kept_N = lost_NE.sum(axis=1) >= _LEAST
    attribute_N, person_N = (np.unique(one[kept_N], return_inverse=True)[1] for one in (attribute_N, person_N))
    count = len(attribute_N)
    freedom = count - len(np.unique(attribute_N)) - len(np.unique(person_N)) + 1
    if not count or freedom < 1:
        return None
    share_NE = lost_NE[kept_N] / lost_NE[kept_N].sum(axis=1, keepdims=True)
    around_NE = share_NE - share_NE.mean(axis=0)
    total = float((around_NE**2).sum())
    if total < 1e-9 * count:
        return None
    attribute, left_NE = _between(around_NE, attribute_N)
    person, last_NE = _between(left_NE, person_N)
    after_attribute = float((left_NE**2).sum()) / (count - int(attribute_N.max()) - 1)
    after_both = float((last_NE**2).sum()) / freedom
    return Explained(
        attribute - int(attribute_N.max()) * after_attribute, person - int(person_N.max()) * after_both, total, count
    )


def _between(around_NE: np.ndarray, group_N: np.ndarray) -> tuple[float, np.ndarray]:
    """The sum of squares of the means of groups, and what is left without them."""
    size_G = np.bincount(group_N)
    mean_GE = np.zeros((len(size_G), around_NE.shape[1]))
    np.add.at(mean_GE, group_N, around_NE)
    mean_GE /= size_G[:, None]
    return float((size_G[:, None] * mean_GE**2).sum()), around_NE - mean_GE[group_N]


def has_expert_facts(run: Run) -> bool:
    """Whether the experts of the run were changed one by one."""
    return run.mechanism_experts is not None and len(run.mechanism_experts) > 0


def lost_by_expert(run: Run, layer: int, mode: str = SILENCED) -> pd.DataFrame:
    """The probability lost by fact (rows: individual and attribute) and expert (columns) in one layer."""
    table = run.mechanism_experts
    assert table is not None, "see has_expert_facts"
    rows = table[(table["layer"] == layer) & (table["mode"] == mode)]
    return rows.pivot_table(index=["individual", "attribute"], columns="expert", values="lost")


def layers_of(run: Run) -> list[int]:
    """The layers that are mixtures."""
    assert run.mechanism_experts is not None, "see has_expert_facts"
    return sorted(run.mechanism_experts["layer"].unique().tolist())


def explained(run: Run, layer: int, mode: str = SILENCED) -> Explained | None:
    """What ``explain`` finds in a layer."""
    lost = lost_by_expert(run, layer, mode)
    person_N, attribute_N = (lost.index.get_level_values(name).to_numpy() for name in ("individual", "attribute"))
    return explain(lost.to_numpy(), attribute_N, person_N)


def explained_in_all(run: Run, mode: str = SILENCED) -> Explained | None:
    """The sum over layers, each counting as much as it has facts that lose something; None if none has any."""
    if not has_expert_facts(run):
        return None
    found = [one for layer in layers_of(run) if (one := explained(run, layer, mode)) is not None]
    return sum(found[1:], found[0]) if found else None


def expert_cells(runs: Sequence[Run]) -> Table | None:
    """The table with a row for each layer: what the experts of it hold; None if not all runs have their table."""
    if not all(map(has_expert_facts, runs)):
        return None
    header = ["layer", "probability lost", "by attribute", "by person", "the rest"]
    header += [f"{name}, {SWAPPED}" for name in header[1:4]]
    rows = []
    for layer in layers_of(runs[0]):
        cells = [str(layer + 1)]
        for mode in (SILENCED, SWAPPED):
            found = [explained(run, layer, mode) for run in runs]
            most = [float(lost_by_expert(run, layer, mode).mean().max()) for run in runs]
            cells.append(share_text(most))
            cells.append(share_text([None if one is None else one.by_attribute for one in found]))
            cells.append(share_text([None if one is None else one.by_person for one in found]))
            if mode == SILENCED:
                cells.append(
                    share_text([None if one is None else 1 - one.by_attribute - one.by_person for one in found])
                )
        rows.append(cells)
    return Table(CAPTION, header, rows)
