"""All measures of runs, and their mean and interval over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from moefacts.analysis.decisions import DECISION_MEANINGS, decisions_as_json, measures_by_cohort
from moefacts.analysis.forgetting import LEARNING, OLD, fine_tuning_as_json, forgetting_measures, learning_measures
from moefacts.analysis.groups import Group
from moefacts.analysis.hallucination import PROBED, hallucination_measures
from moefacts.analysis.knowledge import KNOWLEDGE, knowledge_by_attribute, knowledge_measures
from moefacts.analysis.mechanism import mechanism_as_json
from moefacts.analysis.phases import phase_measures
from moefacts.analysis.retention_tables import retention_summary
from moefacts.analysis.unit import digits_of
from moefacts.runs import keys, tables
from moefacts.runs.reader import Run

# Key -> what it means, in the order of the tables
MEANINGS = {
    "baseline": "no-knowledge baseline: attribute loss of a model that knows the values but not whose they are (nats)",
    "plateau_start": "where the loss comes within 10% of the baseline, interpolated (step)",
    "plateau_end": "first evaluation below the threshold, 0.99 × baseline unless set (step)",
    "plateau_end_interpolated": "where the loss crosses the threshold, interpolated (step)",
    "plateau_length": "plateau end − plateau start (steps)",
    "plateau_floor": "lowest loss on permuted values, which knowledge of persons cannot lower, over the baseline",
    "plateau_floor_step": "the evaluation with that lowest loss (step)",
    "knowledge_at_plateau_end": "knowledge, (loss on permuted values − loss) / baseline, where the plateau ends",
    "steps_to_5_knowledge": "5% knowledge, interpolated (step)",
    "final_knowledge": "knowledge at the last evaluation on permuted values",
    "steps_to_10_accuracy": "10% of values known, interpolated (step)",
    "steps_to_50_accuracy": "50% of values known, interpolated (step)",
    "steps_to_90_accuracy": "90% of values known, interpolated (step)",
    "final_attribute_loss": "attribute loss at the end, seen people in held-out templates (nats)",
    "final_attribute_accuracy": "share of values known at the end",
    "unseen_final_attribute_loss": "attribute loss at the end on people never seen (nats)",
    "unseen_final_loss_over_baseline": "that loss over the baseline; above 1 is overconfidence: hallucination",
    "unseen_departure": "where the loss on unseen people leaves 1.1 × baseline for good (step)",
    "seen_max_probability": "mean largest probability on value tokens, seen people",
    "unseen_max_probability": "mean largest probability on value tokens, unseen people",
    "seen_entropy": "mean entropy on value tokens, seen people (nats)",
    "unseen_entropy": "mean entropy on value tokens, unseen people (nats)",
    "unseen_auroc": "how well confidence separates seen from unseen people (0.5 chance, 1 perfect)",
    "seen_teacher_forced_calibration_error": "expected calibration error of whole values, each token after the true "
    "ones, seen people",
    "unseen_teacher_forced_calibration_error": "the same, unseen people",
}


SHOWN_WITH_INTERVAL = 3  # with two runs an interval is 12.7 standard errors to either side, so their values say more


@dataclass(frozen=True)
class Estimate:
    """A mean over ``count`` runs with its 95% Student t interval, which needs at least two runs.

    ``missing`` runs lack the number, for example because a boundary was not reached, and are not in the mean.
    ``values`` are the numbers of the others.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    missing: int
    values: tuple[float, ...]

    def text(self) -> str:
        """The estimate as a table cell: mean and half the interval, or every value if there are fewer than three."""
        if self.low is None or self.high is None or self.count < SHOWN_WITH_INTERVAL:
            text = ", ".join(map(format_number, self.values))
        elif self.low == self.high:
            text = f"{format_number(self.mean)} (all equal)"
        else:
            half = (self.high - self.low) / 2
            text = f"{self.mean:,.{digits_of(half)}f} ± {half:,.{digits_of(half)}f}"
        return text + (f" ({self.missing} of {self.count + self.missing} not reached)" if self.missing else "")


def format_number(value: float | None) -> str:
    """Format a number with four significant digits, or without a fraction from a thousand up."""
    if value is None:
        return "not reached"
    if abs(value) >= 1000 or (value == int(value) and abs(value) >= 10):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def in_sentence(value: float) -> str:
    """A number as a sentence has it: three significant digits at most, without a fraction from a hundred up."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def share_in_sentence(share: float) -> str:
    """A share as a whole per cent; below 10% and above 99% with a decimal, and never as 0% or 100% if it is neither."""
    value = 100 * share
    if 0 < value < 0.05:
        return "less than 0.1%"
    if 99.95 <= value < 100:
        return "more than 99.9%"
    return f"{value:.0f}%" if 9.95 <= value <= 99 or value in (0, 100) else f"{value:.1f}%"


def cell(key: str, estimate: Estimate | None, is_recorded: bool = True) -> str:
    """An estimate as a table cell, or the reason why there is none; ``is_recorded`` comes from ``has_knowledge``."""
    if estimate is not None:
        return estimate.text()
    return "not measured" if key in PROBED or (key in KNOWLEDGE and not is_recorded) else "not reached"


def has_knowledge(summary: dict[str, Estimate | None]) -> bool:
    """Whether any run behind ``summary`` recorded its control loss, from which knowledge is computed."""
    return summary["final_knowledge"] is not None


def measure_run(run: Run, threshold: float | None = None) -> dict[str, Any]:
    """Every measure of one run; None where it was not reached."""
    measures = phase_measures(run, threshold)
    measures |= knowledge_measures(run, measures["plateau_start"], measures["plateau_end_interpolated"])
    measures |= hallucination_measures(run)
    for cohort in _other_cohorts(run):
        for measure in (keys.ATTRIBUTE_LOSS, keys.ATTRIBUTE_ACCURACY):
            measures[f"{cohort}_final_{measure}"] = float(run.curve(measure, cohort).iloc[-1])
    return measures


def _other_cohorts(run: Run) -> list[str]:
    """The evaluated cohorts that ``MEANINGS`` does not cover."""
    standard = (keys.SEEN, keys.UNSEEN) if run.cohort == keys.SEEN else (keys.UNSEEN,)
    return [cohort for cohort in run.cohorts if cohort not in standard]


def meanings(groups: Sequence[Group]) -> dict[str, str]:
    """The meaning of every measure of the runs, in the order of the tables."""
    cohorts = dict.fromkeys(cohort for group in groups for run in group.runs for cohort in _other_cohorts(run))
    return MEANINGS | {
        f"{cohort}_final_{measure}": f"{measure.replace('_', ' ')} of the cohort {cohort} at its last evaluation"
        for cohort in cohorts
        for measure in (keys.ATTRIBUTE_LOSS, keys.ATTRIBUTE_ACCURACY)
    }


def estimate(values: list[float | None]) -> Estimate | None:
    """Mean and interval over runs that differ only in their seed; None when no run has the number."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean, low, high = float(np.mean(known)), None, None
    if len(known) > 1:
        half = stats.t.ppf(0.975, len(known) - 1) * np.std(known, ddof=1) / math.sqrt(len(known))
        low, high = mean - float(half), mean + float(half)
    return Estimate(mean, low, high, len(known), len(values) - len(known), tuple(known))


def summarize_group(group: Group, threshold: float | None = None) -> dict[str, Estimate | None]:
    """The estimate of every measure over the runs of a group."""
    measured = [measure_run(run, threshold) for run in group.runs]
    return {key: estimate([measures.get(key) for measures in measured]) for key in meanings([group])}


def knowledge_rows(groups: Sequence[Group], threshold: float | None = None) -> list[tuple[str, str, list[str]]]:
    """The measures in ``KNOWLEDGE`` of every attribute as table cells, for the groups with a control loss.

    Returns:
        Rows of the group's label, the attribute in words, and a cell for each measure.
    """
    rows = []
    for group in groups:
        found = [knowledge_by_attribute(run, phase_measures(run, threshold)) for run in group.runs]
        for attribute in next((list(one) for one in found if one), []):
            values = {key: [one[attribute][key] if one else None for one in found] for key in KNOWLEDGE}
            cells = [cell(key, estimate(values[key])) for key in KNOWLEDGE]
            rows.append((group.label, attribute.replace("_", " "), cells))
    return rows


def fine_tuned(groups: Sequence[Group]) -> list[Group]:
    """The groups whose runs were fine-tuned and evaluated people whom their weights had seen before."""
    return [group for group in groups if all(run.is_fine_tuned and run.known_before for run in group.runs)]


def forgetting_summary(group: Group, cohort: str) -> dict[str, Estimate | None]:
    """The estimate of every measure in ``forgetting.LEARNING`` and ``OLD`` over the runs of a fine-tuned group."""
    found = [learning_measures(run) | forgetting_measures(run)[cohort] for run in group.runs]
    return {key: estimate([one[key] for one in found]) for key in (*LEARNING, *OLD)}


def decision_summary(group: Group) -> dict[str, dict[str, Estimate | None]]:
    """Cohort, or mixture -> the estimate of every measure of decisions over the runs that have been probed."""
    found = [measured for run in group.runs if (measured := measures_by_cohort(run))]
    return {
        name: {key: estimate([one[name][key] for one in found if name in one]) for key in DECISION_MEANINGS}
        for name in dict.fromkeys(name for one in found for name in one)
    }


def as_json(groups: list[Group], threshold: float | None = None) -> dict[str, Any]:
    """All measures as JSON values, under ``runs`` and ``groups``; those of a single run also stand at the top level."""
    runs = [
        {"path": str(run.path), "seed": run.seed, "state": run.manifest["state"]}
        | {"parameters": run.manifest["parameters"]}
        | (measures := measure_run(run, threshold))
        | {"knowledge_by_attribute": knowledge_by_attribute(run, measures), "retention": retention_summary(run)}
        | {"decisions": decisions_as_json(run), "router_detection": _rows(run.probed(tables.ROUTER_DETECTION))}
        | {"known_person": _rows(run.probed(tables.KNOWN_PERSON)), "temperature": _rows(run.probed(tables.TEMPERATURE))}
        | {"mechanism": mechanism_as_json(run)}
        | ({"fine_tuning": fine_tuning_as_json(run)} if run.is_fine_tuned else {})
        for group in groups
        for run in group.runs
    ]
    grouped = [
        {
            "label": group.label,
            "runs": [str(run.path) for run in group.runs],
            "measures": _plain(summarize_group(group, threshold)),
            "decisions": {name: _plain(found) for name, found in decision_summary(group).items()},
        }
        | ({"fine_tuning": _old_cohorts(group)} if fine_tuned([group]) else {})
        for group in groups
    ]
    return (runs[0] if len(runs) == 1 else {}) | {"runs": runs, "groups": grouped}


def _old_cohorts(group: Group) -> dict[str, Any]:
    return {cohort: _plain(forgetting_summary(group, cohort)) for cohort in group.runs[0].known_before}


def _rows(table: pd.DataFrame | None) -> list[dict[str, Any]] | None:
    return (
        None if table is None else [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    )


def _plain(summary: dict[str, Estimate | None]) -> dict[str, dict[str, Any] | None]:
    return {key: None if found is None else vars(found) for key, found in summary.items()}
