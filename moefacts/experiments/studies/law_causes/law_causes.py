"""What sets the plateau's length? Three cheap experiments decide between the explanations, at laptop scale.

The plateau may be as long as it is because of where the threshold of 0.99 baselines lies above the plateau's floor,
because the model is narrow, or because attention that finds the name has yet to form. Each experiment changes one
thing: the schedule of the learning rate, the width (at two learning rates), and attention, which is that of a finished
model from the first step on.
"""

from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.figure import Figure

from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.figures import DrawFigure
from moefacts.experiments.engine.study import Findings, FinishedRun, Study
from moefacts.experiments.studies._arms import END
from moefacts.experiments.studies.law_causes.claims import CLAIMS
from moefacts.experiments.studies.law_causes.evidence import KNOWN, Evidence
from moefacts.experiments.studies.law_causes.grids import (
    COSINE,
    FINISHED,
    HALF_RATE,
    RATE,
    SIZE,
    USUAL,
    grid,
    of_width,
)
from moefacts.experiments.studies.law_causes.law_causes_figures import factors_figure
from moefacts.experiments.studies.law_causes.tables import (
    CHANGES,
    ENCOUNTERS,
    MEASURES,
    arms_table,
    changes_table,
    law_table,
    values_of,
)

# Label -> width -> the arm, of those that vary at one size
_LINES = {
    f"rate {RATE}": {width: of_width(width) for width in (32, 64, 128)},
    f"rate {HALF_RATE}": {width: of_width(width, HALF_RATE) for width in (64, 128)},
}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare every arm with the arms that differ from it in one thing."""
    evidence = Evidence(runs)
    tables = [changes_table(evidence), arms_table(evidence), law_table(evidence)]
    return Findings(values_of(evidence), tables, _figures(evidence), evidence)


def _figures(evidence: Evidence) -> dict[str, tuple[str, DrawFigure]]:
    ratios = {
        change: {label: evidence.ratio(measure, pairs) for measure, label in MEASURES.items()}
        for change, pairs in CHANGES.items()
    }
    found = {change: of for change, of in ratios.items() if any(pair is not None for pair in of.values())}
    figures: dict[str, tuple[str, DrawFigure]] = {}
    if found:
        caption = "By what factor each change moves two measures. Dots are single seeds, bars 95% intervals."
        figures["factors"] = (caption, partial(factors_figure, found))
    names = [arm for arm in (USUAL, FINISHED, COSINE) if arm in evidence.arms.names]
    if len(names) > 1:
        caption = (
            "The law with own and with finished attention, and with a cosine. Where the exponent is 1, biographies per "
            "person are equal."
        )
        figures["over_sizes"] = (caption, partial(_over_sizes, evidence, names))
    if any(of_width(width) in evidence.arms.names for width in (32, 128)):
        caption = f"Width and learning rate at {SIZE:,} people. Dots are single seeds; bars are 95% intervals."
        figures["over_widths"] = (caption, partial(_over_widths, evidence))
    return figures


def _over_sizes(evidence: Evidence, names: Sequence[str]) -> Figure:
    def lines(of: Callable[[str, int], list[float | None]]) -> list[Series]:
        sizes = {arm: [size for size in evidence.arms.sizes if evidence.arms.members(arm, size)] for arm in names}
        return [Series(arm, {size: of(arm, size) for size in sizes[arm]}) for arm in names]

    return compare_over({"": {MEASURES[END]: lines(partial(evidence.values, END))} | _panels(evidence, lines)})


def _over_widths(evidence: Evidence) -> Figure:
    def lines(of: Callable[[str, int], list[float | None]]) -> list[Series]:
        arms = {label: {w: arm for w, arm in by.items() if arm in evidence.arms.names} for label, by in _LINES.items()}
        return [Series(label, {width: of(arm, SIZE) for width, arm in by.items()}) for label, by in arms.items()]

    return compare_over({"": _panels(evidence, lines)}, "width")


def _panels(
    evidence: Evidence, lines: Callable[[Callable[[str, int], list[float | None]]], list[Series]]
) -> dict[str, list[Series]]:
    """The panels of both figures; ``lines`` makes those of one measure of an arm at one size."""
    return {ENCOUNTERS: lines(evidence.encounters), MEASURES[KNOWN]: lines(partial(evidence.values, KNOWN))}


STUDY = Study(
    name="law-causes",
    title="What sets the plateau's length: schedule, width, or attention that has yet to form?",
    figure="not in the paper",
    grids={"laptop": grid()},
    claims={"laptop": CLAIMS},
    examine=examine,
)
