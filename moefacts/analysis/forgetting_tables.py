"""What became of old people in fine-tuning, over the seeds of a group: a sentence and table cells."""

from collections import Counter
from collections.abc import Sequence

from moefacts.analysis.forgetting import LEARNING, LEVELS, OLD, forgetting_measures
from moefacts.analysis.groups import Group
from moefacts.analysis.summary import Estimate, fine_tuned, forgetting_summary, format_number
from moefacts.analysis.trough import RECOVERS

_OF_TROUGH = {
    "trough_step", "accuracy_at_trough", "loss_at_trough", "recovered_step", "recovery", "erosion",
    "retention_at_trough",
}  # fmt: skip
_STATUS = "trough_status"


def forgetting_table(groups: Sequence[Group]) -> tuple[list[str], list[tuple[str, list[str], str]]]:
    """The measures as cells: the headers of the columns, one per group and old cohort, and the rows.

    Returns:
        The headers, and rows of a key, its cells and its meaning; both empty if no group was fine-tuned.
    """
    columns = [(group, cohort) for group in fine_tuned(groups) for cohort in group.runs[0].known_before]
    if not columns:
        return [], []
    header = [f"{group.label}, {cohort}" if len(groups) > 1 else cohort for group, cohort in columns]
    summaries = [forgetting_summary(group, cohort) for group, cohort in columns]
    rows = []
    for key, meaning in (LEARNING | OLD).items():
        if key == "trough_step":
            statuses = [_statuses(group, cohort) for group, cohort in columns]
            rows.append((_STATUS, statuses, "whether old accuracy fell beyond its error, and rose again"))
        rows.append((key, [_cell(key, summary[key]) for summary in summaries], meaning))
    return header, rows


def _statuses(group: Group, cohort: str) -> str:
    counts = Counter(forgetting_measures(run)[cohort][_STATUS] for run in group.runs)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{status} in {count} of {len(group.runs)}" for status, count in counts.most_common())


def _cell(key: str, found: Estimate | None) -> str:
    absent = "no fall" if key in _OF_TROUGH else "not defined" if key.startswith("retention") else "not reached"
    return absent if found is None else found.text().replace("not reached", absent)


def forgetting_sentences(group: Group) -> list[str]:
    """For every old cohort, what was kept when new people were known, in one sentence; means over the group's runs."""
    return [_sentence(group, cohort) for cohort in group.runs[0].known_before]


def _sentence(group: Group, cohort: str) -> str:
    summary, last = forgetting_summary(group, cohort), max(run.evaluations.index[-1] for run in group.runs)

    def percent(key: str) -> str:
        found = summary[key]
        assert found is not None
        return f"{100 * found.mean:.1f}%"

    reached = [level for level in LEVELS if _is_reached_by_all(group, summary[f"steps_to_{level}_new_accuracy"])]
    if reached:
        level = reached[-1]
        step = summary[f"steps_to_{level}_new_accuracy"]
        assert step is not None
        text = f"When {level}% of the learned people's values were known (step {format_number(step.mean)}), "
        text += f"{percent(f'accuracy_when_new_{level}')} of those of the cohort {cohort} were"
    else:
        every = " in every run" if len(group.runs) > 1 else ""
        text = f"The learned people's values did not come to be half known{every}; at the end (step {last:,}) "
        text += f"{percent('new_accuracy_at_end')} of them and {percent('accuracy_at_end')} of those of the cohort "
        text += f"{cohort} were"
    text += f", against {percent('accuracy_before')} before fine-tuning"
    step = summary["trough_step"]
    if step is not None:
        recovers = any(forgetting_measures(run)[cohort][_STATUS] == RECOVERS for run in group.runs)
        text += "; the trough was" if recovers else "; it did not recover from its lowest,"
        text += f" {percent('accuracy_at_trough')} at step {format_number(step.mean)}"
        text += f" in {step.count} of {step.count + step.missing} runs" if step.missing else ""
    else:
        text += "; there was no fall beyond the error of the evaluations"
    share = forgetting_measures(group.runs[0])[cohort]["learned_share"]
    return text + (f" ({100 * share:.0f}% of this cohort are also learned)." if share else ".")


def _is_reached_by_all(group: Group, step: Estimate | None) -> bool:
    return step is not None and step.count == len(group.runs)
