"""The tables and values of law-causes."""

import math
from typing import Any

from moefacts.analysis.comparison import Paired
from moefacts.analysis.scaling_law import PowerLaw
from moefacts.analysis.study_report import Table
from moefacts.analysis.summary import cell, estimate
from moefacts.experiments.studies._arms import END
from moefacts.experiments.studies.law_causes.evidence import KNOWN, TIME_SCALE, Evidence, Pairs
from moefacts.experiments.studies.law_causes.grids import (
    BATCH,
    COSINE,
    FINISHED,
    LARGE_BATCH,
    SLOWER,
    USUAL,
    WIDER,
)

MEASURES = {END: "plateau end (steps)", KNOWN: "5% knowledge (steps)", TIME_SCALE: "time scale of forgetting (steps)"}
ENCOUNTERS = "biographies per person"  # until the plateau ends
# What is changed -> the pairs of arms that differ in it
CHANGES: dict[str, Pairs] = {
    "a cosine for a constant rate": ((COSINE, USUAL),),
    "twice the width": WIDER,
    "half the learning rate": SLOWER,
    f"batches of {BATCH} for 32": ((LARGE_BATCH, USUAL),),
    "finished for own attention": ((FINISHED, USUAL),),
}


def changes_table(evidence: Evidence) -> Table:
    """By what factor every change moves the plateau's end, knowledge, and the time scale of forgetting."""
    rows = [
        [change, *(_factor(evidence.ratio(measure, pairs)) for measure in MEASURES)]
        for change, pairs in CHANGES.items()
    ]
    note = (
        "Factors: exponentials of mean log ratios over pairs of runs of equal size and seed, with 95% intervals over "
        "seeds. Width, rate and batch vary at one size; twice the width is at equal rate, half the rate at equal "
        "width. Patched runs are not probed for forgetting. In biographies, batches of 64 take twice the factor."
    )
    return Table("What sets the plateau's length", ["change", *MEASURES.values()], rows, note)


def _factor(pair: Paired | None) -> str:
    if pair is None:
        return "–"
    text = f"×{math.exp(pair.mean):.2f}"
    if pair.interval is not None:
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
            batch = members[0].record.batch_size
            ends = evidence.values(END, arm, size)
            lengths = [run.measures["plateau_length"] for run in members]
            met = evidence.encounters(arm, size)
            floors = [run.measures["plateau_floor"] for run in members]
            there = [run.measures["knowledge_at_plateau_end"] for run in members]
            known, scale = (evidence.values(measure, arm, size) for measure in (KNOWN, TIME_SCALE))
            cells = [cell("", estimate(values)) for values in (ends, lengths, met, floors, there, known)]
            rows.append([f"{size:,}", arm, str(len(members)), *cells, _scale_cell(scale), f"{size / batch:.0f}"])
    columns = ["people", "arm", "runs", MEASURES[END], "plateau length (steps)", ENCOUNTERS, "floor (baselines)"]
    columns += ["knowledge at the end", MEASURES[KNOWN], MEASURES[TIME_SCALE], "steps between two looks at a person"]
    note = (
        f"Means ± half of the 95% interval over seeds. The usual arm is “{USUAL}”, a constant rate and batches of 32. "
        "Runs with finished attention use that of the usual run of equal seed, after 1.6 times as many steps as its "
        "plateau took to end. The time scale is that of exp(−steps / τ), without a floor, where the plateau ends."
    )
    return Table("Every arm", columns, rows, note)


def _scale_cell(scales: list[float | None]) -> str:
    mean = estimate(scales)
    if mean is None:
        return "–"
    told = f" ({mean.missing} of {mean.count + mean.missing} cannot be told)" if mean.missing else ""
    return estimate(list(mean.values)).text() + told  # type: ignore[union-attr]


def law_table(evidence: Evidence) -> Table:
    """The law with a run's own attention and with finished attention."""
    rows = [
        [arm, *_law_cells(law), *_law_cells_of_known(evidence, arm)]
        for arm, law in ((one, evidence.law(one)) for one in (USUAL, FINISHED))
    ]
    ratio = evidence.ratio_law
    note = "Fits a·N^b to the plateau's end; 95% intervals from a bootstrap over seeds and evaluation noise. "
    if ratio is None:
        note += "Too few pairs of runs have both ends for the difference of the exponents."
    else:
        low, high = ratio.b_interval
        note += (
            f"The exponent of the ratio, finished to own attention, is {ratio.b:+.3f} [{low:+.3f}, {high:+.3f}]; the "
            f"ratio is {ratio.at(evidence.arms.sizes[0]):.2f} at {evidence.arms.sizes[0]:,} people and "
            f"{ratio.at(evidence.arms.sizes[-1]):.2f} at {evidence.arms.sizes[-1]:,}."
        )
    columns = ["attention", "a", "exponent b", "R²", "exponent of the steps to 5% knowledge"]
    return Table("The law with own and with finished attention", columns, rows, note)


def _law_cells(law: PowerLaw | None) -> list[str]:
    if law is None:
        return ["–", "–", "–"]
    (a_low, a_high), (low, high) = law.a_interval, law.b_interval
    return [f"{law.a:.3g} [{a_low:.3g}, {a_high:.3g}]", f"{law.b:.3f} [{low:.3f}, {high:.3f}]", f"{law.r_squared:.4f}"]


def _law_cells_of_known(evidence: Evidence, arm: str) -> list[str]:
    law = evidence.known_law(arm)
    return ["–"] if law is None else [f"{law.b:.3f} [{law.b_interval[0]:.3f}, {law.b_interval[1]:.3f}]"]


def values_of(evidence: Evidence) -> dict[str, Any]:
    """The numbers of the tables, as JSON values."""
    ratios = {
        change: {
            measure: None if (pair := evidence.ratio(measure, pairs)) is None else vars(pair) for measure in MEASURES
        }
        for change, pairs in CHANGES.items()
    }
    laws = {"own": evidence.law(USUAL), "finished": evidence.law(FINISHED), "ratio": evidence.ratio_law}
    laws |= {"own_5_knowledge": evidence.known_law(USUAL), "finished_5_knowledge": evidence.known_law(FINISHED)}
    parts = ("a", "a_interval", "b", "b_interval", "r_squared", "bend", "bend_interval")
    numbers = {
        name: None if law is None else {part: getattr(law, part) for part in parts} for name, law in laws.items()
    }
    scales = [
        {
            "arm": run.labels["arm"],
            "size": run.labels["size"],
            "seed": run.seed,
            "time_scale": evidence.time_scale(run),
        }
        for run in evidence.arms.runs
    ]
    return {"log_ratios": ratios, "laws": numbers, "time_scales_at_plateau_end": scales}
