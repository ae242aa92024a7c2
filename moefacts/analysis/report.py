"""The report of an analysis: one self-contained HTML page with findings, figures, measures, settings and commands."""

from pathlib import Path
from typing import Any

import jinja2
import yaml

from moefacts.analysis.decision_tables import (
    ROUTER_CAPTION,
    ROUTER_HEADER,
    decision_sentence,
    decision_table,
    router_rows,
)
from moefacts.analysis.fading import NOT_FORGETTING
from moefacts.analysis.figures import DECISION_FIGURE, Drawing
from moefacts.analysis.fine_tuning_tables import probe_cells
from moefacts.analysis.forgetting_tables import forgetting_sentences, forgetting_table
from moefacts.analysis.groups import Group
from moefacts.analysis.hallucination_tables import hallucination_tables
from moefacts.analysis.knowledge import KNOWLEDGE
from moefacts.analysis.mechanism import has_mechanism, layer_cells
from moefacts.analysis.phases import phase_measures
from moefacts.analysis.plateau_end import CANNOT_TELL
from moefacts.analysis.retention_tables import RETENTION_HEADER, retention_rows, two_way_cells
from moefacts.analysis.summary import (
    Estimate,
    cell,
    fine_tuned,
    format_number,
    has_knowledge,
    knowledge_rows,
    meanings,
    summarize_group,
)
from moefacts.runs.durable import write_durably
from moefacts.runs.reader import Run
from moefacts.runs.thresholds import PLATEAU_CEILING


def write_report(groups: list[Group], drawings: list[Drawing], path: Path, threshold: float | None) -> None:
    """Write the page for ``groups``; ``drawings`` come from ``draw_figures``."""
    runs = [run for group in groups for run in group.runs]
    summaries = [summarize_group(group, threshold) for group in groups]
    page = page_template("report.html").render(
        title=_title(runs, groups),
        lead=_lead(runs[0]) if len(groups) == 1 else f"Configurations: {'; '.join(group.label for group in groups)}.",
        findings=[
            text for group, s in zip(groups, summaries, strict=True) for text in _findings(group, s, groups, threshold)
        ],
        drawings=[one for one in drawings if not one.name.startswith(("forgetting_", "mechanism_", DECISION_FIGURE))],
        hallucination=_hallucination(groups, drawings),
        fine_tuning=_fine_tuning(groups, drawings),
        mechanism=_mechanism(groups, drawings),
        labels=[group.label for group in groups],
        measures=[
            (key, [cell(key, s.get(key), has_knowledge(s)) for s in summaries], text)
            for key, text in meanings(groups).items()
        ],
        knowledge=(KNOWLEDGE, knowledge_rows(groups, threshold)),
        retention=(RETENTION_HEADER, retention_rows(groups), NOT_FORGETTING),
        two_way=[(group.label, found) for group in groups if (found := two_way_cells(group.runs[0]))],
        runs=[_run_row(run) for run in runs],
        several_seeds=any(len(group.runs) > 1 for group in groups),
        commands=[run.manifest["command"] for run in runs]
        + [f"moefacts analyze {' '.join(str(run.path) for run in runs)}"],
        versions=", ".join(f"{name} {version}" for name, version in runs[0].manifest["versions"].items()),
        configs=[(group.label, yaml.safe_dump(group.runs[0].config, sort_keys=False)) for group in groups],
    )
    write_durably(path, page.encode())


def _hallucination(groups: list[Group], drawings: list[Drawing]) -> dict[str, Any] | None:
    """What the section on hallucination shows; None if no run's decisions have been probed."""
    header, rows = decision_table(groups)
    if not header:
        return None
    sentences = [(group.label, text) for group in groups if (text := decision_sentence(group))]
    return {
        "sentences": [f"{label}: {text}" if len(groups) > 1 else text for label, text in sentences],
        "drawings": [drawing for drawing in drawings if drawing.name.startswith(DECISION_FIGURE)],
        "header": header,
        "rows": rows,
        "tables": [
            (f"{group.label}: " if len(groups) > 1 else "", cells)
            for group in groups
            for cells in hallucination_tables(group)
        ],
        "router": (["configuration"] * (len(groups) > 1) + ROUTER_HEADER, router_rows(groups), ROUTER_CAPTION),
    }


def _fine_tuning(groups: list[Group], drawings: list[Drawing]) -> dict[str, Any] | None:
    """What the section on fine-tuning shows; None if no group was fine-tuned. Probes are those of each first run."""
    tuned = fine_tuned(groups)
    if not tuned:
        return None
    header, rows = forgetting_table(groups)
    return {
        "sentences": [
            f"{group.label}: {text}" if len(groups) > 1 else text
            for group in tuned
            for text in forgetting_sentences(group)
        ],
        "drawings": [drawing for drawing in drawings if drawing.name.startswith("forgetting_")],
        "header": header,
        "rows": rows,
        "probes": [
            (f"{group.label}, seed {group.runs[0].seed}: " if len(groups) > 1 or len(group.runs) > 1 else "", cells)
            for group in tuned
            for cells in probe_cells(group.runs[0])
        ],
    }


def _mechanism(groups: list[Group], drawings: list[Drawing]) -> dict[str, Any] | None:
    """What the section on the mechanism shows; None if no group was probed for it."""
    tables = [
        (f"{group.label}: " if len(groups) > 1 else "", cells)
        for group in groups
        if all(map(has_mechanism, group.runs))
        for cells in layer_cells(group.runs)
    ]
    own = [drawing for drawing in drawings if drawing.name.startswith("mechanism_")]
    return {"tables": tables, "drawings": own} if tables else None


def page_template(name: str) -> jinja2.Template:
    """The Jinja template ``name`` from this folder."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(name)


def _title(runs: list[Run], groups: list[Group]) -> str:
    if len(runs) == 1:
        return runs[0].path.name
    if len(groups) == 1:
        return f"{groups[0].label}, {len(runs)} seeds"
    return f"{len(runs)} runs in {len(groups)} configurations"


def _lead(run: Run) -> str:
    population, training = run.config["population"], run.config["training"]
    return (
        f"{run.config['model']['preset']} on {population['size']:,} people, up to {training['steps']:,} steps of "
        f"{training['batch_size']} biographies; attribute loss and accuracy are those of held-out templates."
    )


def _findings(
    group: Group, measures: dict[str, Estimate | None], groups: list[Group], threshold: float | None
) -> list[str]:
    """The result in words. Every number is a mean whose interval stands in the table of measures."""
    prefix = f"{group.label}: " if len(groups) > 1 else ""
    start, end = measures["plateau_start"], measures["plateau_end_interpolated"]
    if start is None:
        plateau = "The attribute loss never came near the no-knowledge baseline."
    elif end is None:
        plateau = f"The plateau began at step {format_number(start.mean)} and did not end in this run."
    else:
        plateau = f"The plateau began at step {format_number(start.mean)} and ended at step {format_number(end.mean)}."
    unsure = [
        f"seed {run.seed}: {found['plateau_end_reason']}"
        for run in group.runs
        if (found := phase_measures(run, threshold))["plateau_end_status"] == CANNOT_TELL
    ]
    if unsure:
        plateau += f" Its end could not be determined in {len(unsure)} of {len(group.runs)} runs ({'; '.join(unsure)})."
    floor = _floor_sentence(measures)
    accuracy, loss = measures["final_attribute_accuracy"], measures["unseen_final_loss_over_baseline"]
    assert accuracy is not None
    knowledge = f"At the end the model knew {100 * accuracy.mean:.1f}% of the attribute values of the people it saw."
    unseen = ""
    if loss is not None:
        unseen = f"On people it never saw, its loss was {format_number(loss.mean)} times the baseline"
        if start is not None and measures["unseen_departure"] is not None:
            unseen += " and had left it for good: the model hallucinates."
        elif loss.mean > PLATEAU_CEILING:
            unseen += "; it never came near the baseline, so these runs do not say when it would have left it."
        else:
            unseen += ", which is near it: the model guesses and does not hallucinate."
    auroc = measures["unseen_auroc"]
    confidence = (
        f"Its confidence tells seen from unseen people with an AUROC of {format_number(auroc.mean)} (0.5 is chance)."
        if auroc
        else ""
    )
    return [prefix + text for text in (plateau, floor, knowledge, unseen, confidence) if text]


def _floor_sentence(measures: dict[str, Estimate | None]) -> str:
    """How high the plateau's floor is and when there was some knowledge; empty if it was not recorded."""
    floor, step, final = (measures[key] for key in ("plateau_floor", "plateau_floor_step", "final_knowledge"))
    if floor is None or step is None or final is None:
        return ""
    reached = measures["steps_to_5_knowledge"]
    when = "never worth 5% of the baseline"
    if reached is not None:
        when = f"worth 5% of the baseline from step {format_number(reached.mean)} on"
    return (
        f"Without knowledge of persons the loss was at least {format_number(floor.mean)} times the baseline (permuted "
        f"values, step {format_number(step.mean)}). What the model knew of persons was {when}, and "
        f"{format_number(final.mean)} times the baseline at the end."
    )


def _run_row(run: Run) -> dict[str, Any]:
    manifest, counts = run.manifest, run.manifest["parameters"]
    steps = run.evaluations.index[-1]
    return {
        "path": run.path,
        "seed": run.seed,
        "state": manifest["state"],
        "parameters": f"{counts['total']:,} / {counts['non_embedding']:,} / {counts['active']:,}",
        "biographies": f"{steps * run.config['training']['batch_size']:,}",
        "tokens": f"{manifest.get('tokens', 0):,}",
        "wall": f"{manifest.get('wall_seconds', 0) / 60:.1f} min",
        "device": manifest["device"],
        "fingerprint": manifest.get("population_fingerprint", "")[:16],
    }
