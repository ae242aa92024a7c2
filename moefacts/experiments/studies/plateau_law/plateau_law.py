"""Figure 2, right: when the plateau ends, as a function of the number of people (study, section 4)."""

from collections.abc import Sequence
from functools import partial

from moefacts.analysis.figures import DrawFigure
from moefacts.experiments.engine.study import SCALES, Findings, FinishedRun, Study
from moefacts.experiments.studies.plateau_law.claims import CLAIMS
from moefacts.experiments.studies.plateau_law.grids import CHOICE, FIXED, law_grid, rates_grid
from moefacts.experiments.studies.plateau_law.knowledge_figures import CAPTION as FLOOR_CAPTION
from moefacts.experiments.studies.plateau_law.knowledge_figures import floor_figure
from moefacts.experiments.studies.plateau_law.knowledge_tables import attribute_table, knowledge_table
from moefacts.experiments.studies.plateau_law.plateau_law_figures import (
    encounters_figure,
    law_figure,
    lengths_figure,
    rate_sums_figure,
    residuals_figure,
)
from moefacts.experiments.studies.plateau_law.points import Evidence, evidence_of
from moefacts.experiments.studies.plateau_law.rates import chosen_rates, losses_by_rate, rates_table
from moefacts.experiments.studies.plateau_law.retention import CAPTION as RETENTION_CAPTION
from moefacts.experiments.studies.plateau_law.retention import retention_figure, retention_table
from moefacts.experiments.studies.plateau_law.tables import comparison_table, law_table, law_values


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Fit the law. Runs that choose a learning rate, and those at one fixed rate beside them, are no evidence."""
    losses = losses_by_rate(runs)
    best = chosen_rates(losses)
    of_law = [run for run in runs if run.labels.get("part") not in (CHOICE, FIXED)]
    evidence = evidence_of(of_law)
    fixed = evidence_of([run for run in runs if run.labels.get("part") == FIXED])
    tables, values, figures = [law_table(evidence, best)], law_values(evidence), _figures(evidence)
    if evidence.knowledge.points:
        tables += [knowledge_table(evidence.knowledge), attribute_table(evidence.knowledge)]
        figures["floor_and_knowledge"] = (FLOOR_CAPTION, partial(floor_figure, of_law))
    if evidence.retention:
        tables.append(retention_table(evidence.retention))
        figures["retention"] = (RETENTION_CAPTION, partial(retention_figure, evidence.retention))
    if evidence.law_comparison is not None:
        tables.append(comparison_table(evidence))
    if losses:
        tables.append(rates_table(losses))
        values |= {"best_learning_rate": best, "final_training_loss": losses}
    if fixed.points:
        tables.append(law_table(fixed, {}, "Beside it, with one fixed learning rate"))
        values["fixed_rate"] = law_values(fixed)
        figures |= {
            f"fixed_rate_{name}": (f"With one fixed learning rate. {caption}", draw)
            for name, (caption, draw) in _figures(fixed).items()
            if name == "encounters"
        }
    return Findings(values, tables, figures, evidence)


def _figures(evidence: Evidence) -> dict[str, tuple[str, DrawFigure]]:
    points, law, length_law = evidence.points, evidence.law, evidence.length_law
    figures: dict[str, tuple[str, DrawFigure]] = {}
    if any(point.ends for point in points):
        figures["plateau_law"] = (
            "The plateau's end against the number of people. The study's steps are converted to as many biographies.",
            partial(law_figure, points, law),
        )
        figures["encounters"] = (
            "The number of biographies per person until the plateau ends.",
            partial(encounters_figure, points, law),
        )
        figures["rate_sums"] = (
            "The sum of the learning rates of all steps until the plateau ends.",
            partial(rate_sums_figure, points),
        )
    if law is not None:
        caption = "How far each run's plateau end is from the fitted law. Dots are single runs, lines their means."
        figures["residuals"] = (caption, partial(residuals_figure, points, law))
    if length_law is not None:
        figures["plateau_length"] = (
            "Steps from the plateau's start (loss within 10% of the baseline) to its end. No claim is about them.",
            partial(lengths_figure, evidence.determined, length_law),
        )
    return figures


STUDY = Study(
    name="plateau-law",
    title="Is the plateau's end a power law of the number of people?",
    figure="Figure 2, right",
    grids={scale: law_grid(scale) for scale in SCALES},
    claims=CLAIMS,
    examine=examine,
    probes=("retention_at_end",),
)
RATES_STUDY = Study(
    name="plateau-law-lr",
    title="Is the plateau's end a power law with the best of several learning rates at every size?",
    figure="Figure 2, right",
    grids={scale: rates_grid(scale) for scale in SCALES},
    claims=CLAIMS,
    examine=examine,
    probes=("retention_at_end",),
)
