"""The tables and values of law-causes."""

import math
from typing import Any

from moefacts.analysis.comparison import Paired
from moefacts.analysis.scaling_law import PowerLaw
from moefacts.analysis.summary import SHOWN_WITH_INTERVAL, cell, estimate
from moefacts.analysis.table import Table
from moefacts.experiments.studies._arms import END
from moefacts.experiments.studies.law_causes.evidence import KNOWN, LENGTH, Evidence, Pairs
from moefacts.experiments.studies.law_causes.grids import COSINE, FINISHED, SLOWER, USUAL, WIDER

MEASURES = {END: "plateau end (steps)", KNOWN: "5% knowledge (steps)"}
ENCOUNTERS = "biographies per person"  # until the plateau ends
# What is changed -> the pairs of arms that differ in it
CHANGES: dict[str, Pairs] = {
    "a cosine for a constant rate": ((COSINE, USUAL),),
    "twice the width": WIDER,
    "half the learning rate": SLOWER,
    "finished for own attention": ((FINISHED, USUAL),),
}


def changes_table(evidence: Evidence) -> Table:
    """By what factor every change moves the plateau's end and knowledge."""
    rows = [
        [change, *(_factor(evidence.ratio(measure, pairs)) for measure in MEASURES)]
        for change, pairs in CHANGES.items()
    ]
    note = (
        "Factors: exponentials of mean log ratios over pairs of runs of equal size and seed, with 95% intervals over "
        "seeds. Width and rate vary at one size; twice the width is at equal rate, half the rate at equal width."
    )
    return Table("What sets the plateau's length", ["change", *MEASURES.values()], rows, note)


def _factor(pair: Paired | None) -> str:
    if pair is None:
        return "–"
    text = f"×{math.exp(pair.mean):.2f}"
    if pair.interval is not None and len(pair.values) >= SHOWN_WITH_INTERVAL:
        text += f" [{math.exp(pair.interval[0]):.2f}, {_limit(pair.interval[1])}]"
    text += f" ({pair.censored} within bounds)" if pair.censored else ""
    return text + (f" (missing in {pair.missing} more)" if pair.missing else "")


def _limit(log: float) -> str:
    return f"{math.exp(log):.2f}" if log < math.inf else "∞"


def arms_table(evidence: Evidence) -> Table:
    """The means of every arm at every size."""
    rows = []
    for size in evidence.arms.sizes:
        for arm in evidence.arms.names:
            if not (members := evidence.arms.members(arm, size)):
                continue
            ends = evidence.values(END, arm, size)
            lengths = [run.measures[LENGTH] for run in members]
            met = evidence.encounters(arm, size)
            floors = [run.measures["plateau_floor"] for run in members]
            there = [run.measures["knowledge_at_plateau_end"] for run in members]
            cells = [cell("", estimate(values)) for values in (ends, lengths, met, floors, there)]
            known = _told_cell(evidence.values(KNOWN, arm, size))
            rows.append([f"{size:,}", arm, str(len(members)), *cells, known])
    columns = ["people", "arm", "runs", MEASURES[END], "plateau length (steps)", ENCOUNTERS, "floor (baselines)"]
    columns += ["knowledge at the end", MEASURES[KNOWN]]
    note = (
        f"Means ± half of the 95% interval over seeds. The usual arm is “{USUAL}”, a constant rate and batches of 32. "
        "Runs with finished attention use that of the usual run of equal seed, after 1.6 times as many steps as its "
        "plateau took to end."
    )
    return Table("Every arm", columns, rows, note)


def _told_cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    text = cell("", mean) if (mean := estimate(list(known))) is not None else "–"
    return text + (f" ({len(values) - len(known)} of {len(values)} cannot be told)" if len(known) < len(values) else "")


def law_table(evidence: Evidence) -> Table:
    """The law with a run's own attention and with finished attention."""
    rows = [
        [arm, *_law_cells(evidence.law(arm)), *(_exponent(evidence.law(arm, measure)) for measure in (LENGTH, KNOWN))]
        for arm in (USUAL, FINISHED)
    ]
    ratio = evidence.ratio_law
    note = (
        "Fits a·N^b to the plateau's end; 95% intervals from a bootstrap over seeds and evaluation noise. The length "
        "leaves out the first phase, which takes most steps of small populations; no claim is about it. "
    )
    if ratio is None:
        note += "Too few pairs of runs have both ends for the difference of the exponents."
    else:
        low, high = ratio.b_interval
        note += (
            f"The exponent of the ratio, finished to own attention, is {ratio.b:+.3f} [{low:+.3f}, {high:+.3f}]; the "
            f"ratio is {ratio.at(evidence.arms.sizes[0]):.2f} at {evidence.arms.sizes[0]:,} people and "
            f"{ratio.at(evidence.arms.sizes[-1]):.2f} at {evidence.arms.sizes[-1]:,}."
        )
    columns = ["attention", "a", "exponent b", "R²", "exponent of the plateau's length", "of the steps to 5% knowledge"]
    return Table("The law with own and with finished attention", columns, rows, note)


def _law_cells(law: PowerLaw | None) -> list[str]:
    if law is None:
        return ["–", "–", "–"]
    low, high = law.a_interval
    return [f"{law.a:.3g} [{low:.3g}, {high:.3g}]", _exponent(law), f"{law.r_squared:.4f}"]


def _exponent(law: PowerLaw | None) -> str:
    return "–" if law is None else f"{law.b:.3f} [{law.b_interval[0]:.3f}, {law.b_interval[1]:.3f}]"


def values_of(evidence: Evidence) -> dict[str, Any]:
    """The numbers of the tables, as JSON values."""
    ratios = {
        change: {
            measure: None if (pair := evidence.ratio(measure, pairs)) is None else vars(pair) for measure in MEASURES
        }
        for change, pairs in CHANGES.items()
    }
    arms, measures = {"own": USUAL, "finished": FINISHED}, {"": END, "_length": LENGTH, "_5_knowledge": KNOWN}
    laws = {name + of: evidence.law(arm, key) for name, arm in arms.items() for of, key in measures.items()}
    laws["ratio"] = evidence.ratio_law
    parts = ("a", "a_interval", "b", "b_interval", "r_squared", "bend", "bend_interval")
    numbers = {
        name: None if law is None else {part: getattr(law, part) for part in parts} for name, law in laws.items()
    }
    return {"log_ratios": ratios, "laws": numbers}
