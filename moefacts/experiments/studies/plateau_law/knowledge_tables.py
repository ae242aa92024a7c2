"""The tables of what each population is known at its plateau's end, and of when it is known to 5%."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from moefacts.analysis.scaling_law import PowerLaw
from moefacts.analysis.summary import SHOWN_WITH_INTERVAL, estimate, format_number
from moefacts.analysis.table import Table
from moefacts.experiments.studies.plateau_law.knowledge import Knowledge, KnowledgePoint


def knowledge_table(knowledge: Knowledge) -> Table:
    """Every size with the plateau's end, the steps to 5% knowledge, the floor, and knowledge at the plateau's end."""
    rows = []
    for before, point in zip([None, *knowledge.points], knowledge.points, strict=False):
        local = _local_exponent(point, before)
        ratio = stats.gmean(point.ratios) if point.ratios else None
        rows.append(
            [
                f"{point.size:,}",
                _steps([run.plateau_end for run in point.runs]),
                _steps([run.steps for run in point.runs]),
                "–" if ratio is None else f"{ratio:.2f}",
                "–" if local is None else f"{local:.2f}",
                _mean([run.floor for run in point.runs], 3),
                _mean([run.control_at_end for run in point.runs], 3),
                _mean([run.at_end for run in point.runs], 3),
                point.why or "inside",
            ]
        )
    columns = ["people", "plateau end, each seed (steps)", "steps to 5% knowledge, each seed", "over the plateau's end"]
    columns += ["exponent from the size before", "floor", "permuted values at the plateau's end"]
    columns += ["knowledge at the plateau's end", "in the fit"]
    return Table("Knowledge by population size", columns, rows, _note(knowledge))


def _note(knowledge: Knowledge) -> str:
    note = (
        "Knowledge is the loss on permuted values minus that on true ones; it, the floor (the lowest loss on permuted "
        "values that was measured) and the loss on permuted values are in baselines. "
    )
    law, end_law, ratio_law = knowledge.law, knowledge.end_law, knowledge.ratio_law
    if law is None or end_law is None or ratio_law is None:
        return note + "There are too few sizes inside the law for a fit."
    (low, high), difference = ratio_law.b_interval, ratio_law.b
    return (
        f"{note}Fit to the steps to 5%: {_law(law)}; to the plateau's end at the same sizes: {_law(end_law)}. The "
        f"exponents differ by {difference:+.3f} [{low:+.3f}, {high:+.3f}]. No claim is about the two laws themselves."
    )


def _law(law: PowerLaw) -> str:
    (a_low, a_high), (b_low, b_high), (least, most) = law.a_interval, law.b_interval, law.bend_interval
    return (
        f"{law.a:.3g}·N^{law.b:.3f}, a [{a_low:.3g}, {a_high:.3g}], b [{b_low:.3f}, {b_high:.3f}], bend "
        f"{law.bend:+.3f} [{least:+.3f}, {most:+.3f}]"
    )


def attribute_table(knowledge: Knowledge) -> Table:
    """The steps to 5% knowledge of every attribute, and its share of what is known at the plateau's end."""
    attributes = list(
        dict.fromkeys(name for p in knowledge.points for run in p.runs for name in run.steps_by_attribute)
    )
    rows = [
        [
            f"{point.size:,}",
            *(
                f"{_mean([run.steps_by_attribute[name] for run in point.runs], 0)}; {_share(point, name)}"
                for name in attributes
            ),
        ]
        for point in knowledge.points
    ]
    note = (
        "Steps until 5% of an attribute's own baseline is known, mean ± half of the 95% interval over seeds; then the "
        "attribute's share of all that is known (in nats) where the plateau ends, mean over seeds."
    )
    columns = ["people", *(name.replace("_", " ") for name in attributes)]
    return Table("Steps to 5% knowledge by attribute", columns, rows, note)


def _share(point: KnowledgePoint, attribute: str) -> str:
    shares = [run.share_by_attribute[attribute] for run in point.runs if run.share_by_attribute]
    return f"{np.mean(shares):.0%}" if shares else "–"


def _steps(steps: Sequence[float | None]) -> str:
    return ", ".join("–" if one is None else format_number(round(one, 1)) for one in steps)


def _mean(values: Sequence[float | None], digits: int) -> str:
    """The mean over seeds ± half of its interval, or every value if there are fewer than three."""
    found = estimate(list(values))
    if found is None:
        return "–"
    if found.low is None or found.high is None or found.count < SHOWN_WITH_INTERVAL:
        text = ", ".join(f"{value:,.{digits}f}" for value in found.values)
    else:
        text = f"{found.mean:,.{digits}f} ± {(found.high - found.low) / 2:,.{digits}f}"
    return text + (f" ({found.missing} of {len(values)} unknown)" if found.missing else "")


def _local_exponent(point: KnowledgePoint, before: KnowledgePoint | None) -> float | None:
    if before is None or before.mean is None or point.mean is None:
        return None
    return float(np.log(point.mean / before.mean) / np.log(point.size / before.size))
