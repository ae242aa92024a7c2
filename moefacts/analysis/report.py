"""The report of an analysis: one self-contained HTML page with findings, figures, measures, settings and commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from moefacts.analysis.decision_tables import (
    ROUTER_CAPTION,
    ROUTER_HEADER,
    decision_sentence,
    decision_table,
    router_rows,
)
from moefacts.analysis.embed import common_factor, embedded, first_sentence, panels, width
from moefacts.analysis.expert_facts import expert_cells
from moefacts.analysis.fading import NOT_FORGETTING
from moefacts.analysis.figures import DECISION_FIGURE, Drawing
from moefacts.analysis.fine_tuning_tables import probe_cells
from moefacts.analysis.forgetting_tables import forgetting_sentences, forgetting_table
from moefacts.analysis.groups import Group
from moefacts.analysis.hallucination_tables import hallucination_tables
from moefacts.analysis.knowledge import KNOWLEDGE
from moefacts.analysis.mechanism import has_mechanism
from moefacts.analysis.mechanism_tables import layer_cells, memory_cells, restored_cells
from moefacts.analysis.plateau_sentences import plateau_sentence, undetermined_sentence
from moefacts.analysis.retention_tables import RETENTION_HEADER, retention_rows, two_way_cells
from moefacts.analysis.summary import (
    Estimate,
    cell,
    fine_tuned,
    has_knowledge,
    in_sentence,
    knowledge_rows,
    meanings,
    share_in_sentence,
    summarize_group,
)
from moefacts.analysis.table import Table
from moefacts.runs.durable import write_durably
from moefacts.runs.reader import Run
from moefacts.runs.thresholds import PLATEAU_CEILING

Measures = dict[str, Estimate | None]
_KNOWLEDGE_TITLES = {
    "plateau_floor": "floor of the plateau (baselines)",
    "plateau_floor_step": "its step",
    "knowledge_at_plateau_end": "knowledge where the plateau ends (baselines)",
    "steps_to_5_knowledge": "step of 5% knowledge",
    "final_knowledge": "knowledge at the end (baselines)",
}
# How the name of a drawing begins -> its section; what is not here shows routing
_SECTIONS = {
    "attribute_loss": "main",
    "attribute_accuracy": "when",
    "loss_by_attribute": "when",
    "floor_and_knowledge": "when",
    "seen_and_unseen_loss": "strangers",
    "confidence_and_entropy": "strangers",
    DECISION_FIGURE: "strangers",
    "forgetting_": "fine_tuning",
    "mechanism_": "mechanism",
    "attention": "attention",
    "retention": "retention",
}


def write_report(groups: list[Group], drawings: list[Drawing], path: Path, threshold: float | None) -> None:
    """Write the page for ``groups``; ``drawings`` come from ``draw_figures``."""
    runs = [run for group in groups for run in group.runs]
    summaries = [summarize_group(group, threshold) for group in groups]
    page = page_template("report.html").render(
        title=_title(runs, groups),
        lead=_lead(runs[0]) if len(groups) == 1 else f"Configurations: {'; '.join(group.label for group in groups)}.",
        findings=_of_each(_findings, groups, summaries, threshold),
        when=_of_each(_when_sentences, groups, summaries, threshold),
        confidence=_of_each(_confidence_sentences, groups, summaries, threshold),
        plots=_by_section(drawings),
        factor=common_factor(drawings),
        charts=any(drawing.panels for drawing in drawings),
        hallucination=_hallucination(groups),
        fine_tuning=_fine_tuning(groups),
        mechanism=_mechanism(groups),
        labels=[group.label for group in groups],
        measured=[
            (key, [cell(key, s.get(key), has_knowledge(s)) for s in summaries], text)
            for key, text in meanings(groups).items()
        ],
        knowledge=_knowledge(groups, threshold),
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


def _knowledge(groups: list[Group], threshold: float | None) -> tuple[list[str], list[list[str]]]:
    several = len(groups) > 1
    rows = [[label] * several + [name, *cells] for label, name, cells in knowledge_rows(groups, threshold)]
    return ["configuration"] * several + ["attribute", *(_KNOWLEDGE_TITLES[key] for key in KNOWLEDGE)], rows


def _of_each(
    sentences: Callable[[Group, Measures, float | None], list[str]],
    groups: list[Group],
    summaries: list[Measures],
    threshold: float | None,
) -> list[str]:
    return [
        _prefix(group, groups) + text
        for group, summary in zip(groups, summaries, strict=True)
        for text in sentences(group, summary, threshold)
        if text
    ]


def _by_section(drawings: list[Drawing]) -> dict[str, list[Drawing]]:
    """The drawings of every section of the page, each in one section; curves stand before what decisions show."""
    found: dict[str, list[Drawing]] = {section: [] for section in (*dict.fromkeys(_SECTIONS.values()), "routing")}
    for drawing in drawings:
        found[next((of for start, of in _SECTIONS.items() if drawing.name.startswith(start)), "routing")].append(
            drawing
        )
    found["strangers"].sort(key=lambda drawing: drawing.name.startswith(DECISION_FIGURE))
    return found


def _hallucination(groups: list[Group]) -> dict[str, Any] | None:
    """What the section on hallucination shows; None if no run's decisions have been probed."""
    header, rows = decision_table(groups)
    if not header:
        return None
    return {
        "sentences": [_prefix(group, groups) + text for group in groups if (text := decision_sentence(group))],
        "header": header,
        "rows": rows,
        "tables": [(_prefix(group, groups), cells) for group in groups for cells in hallucination_tables(group)],
        "router": (["configuration"] * (len(groups) > 1) + ROUTER_HEADER, router_rows(groups), ROUTER_CAPTION),
    }


def _fine_tuning(groups: list[Group]) -> dict[str, Any] | None:
    """What the section on fine-tuning shows; None if no group was fine-tuned. Probes are those of each first run."""
    tuned = fine_tuned(groups)
    if not tuned:
        return None
    header, rows = forgetting_table(groups)
    return {
        "sentences": [_prefix(group, groups) + text for group in tuned for text in forgetting_sentences(group)],
        "header": header,
        "rows": rows,
        "probes": [
            (f"{group.label}, seed {group.runs[0].seed}: " if len(groups) > 1 or len(group.runs) > 1 else "", cells)
            for group in tuned
            for cells in probe_cells(group.runs[0])
        ],
    }


def _mechanism(groups: list[Group]) -> dict[str, Any] | None:
    """What the section on the mechanism shows; None if no group was probed for it.

    The table of the last checkpoint on the main cohort is open; all others are folded.
    """
    shown: list[tuple[str, Table]] = []
    folded: list[tuple[str, Table]] = []
    for group in groups:
        if all(map(has_mechanism, group.runs)):
            first, *others = ((_prefix(group, groups), cells) for cells in layer_cells(group.runs))
            shown.append(first)
            folded += [*others, *((_prefix(group, groups), cells) for cells in memory_cells(group.runs))]
            more = (restored_cells(group.runs), expert_cells(group.runs))
            shown += [(_prefix(group, groups), cells) for cells in more if cells is not None]
    return {"tables": shown, "folded": folded} if shown else None


def page_template(name: str) -> jinja2.Template:
    """The Jinja template ``name`` from this folder."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"embedded": embedded, "width": width, "first_sentence": first_sentence, "panels": panels}
    environment.globals["asset"] = lambda file: Markup((Path(__file__).parent / file).read_text(encoding="utf-8"))
    return environment.get_template(name)


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


def _findings(group: Group, measures: Measures, threshold: float | None) -> list[str]:
    """What the page leads with. Every number is a rounded mean whose digits and interval the table of measures has."""
    start = measures["plateau_start"]
    plateau = plateau_sentence(group, start, measures["plateau_end_interpolated"], threshold)
    accuracy, loss = measures["final_attribute_accuracy"], measures["unseen_final_loss_over_baseline"]
    assert accuracy is not None
    knowledge = f"At the end the model knew {share_in_sentence(accuracy.mean)} of the values of the people it saw."
    unseen = ""
    if loss is not None:
        unseen = f"On people it never saw, its loss was {in_sentence(loss.mean)} times the baseline"
        if start is not None and measures["unseen_departure"] is not None:
            unseen += " and had left it for good: the model hallucinates."
        elif loss.mean > PLATEAU_CEILING:
            unseen += "; it never came near the baseline, so these runs do not say when it would have left it."
        else:
            unseen += ", which is near it: the model guesses and does not hallucinate."
    return [plateau, knowledge, unseen]


def _when_sentences(group: Group, measures: Measures, threshold: float | None) -> list[str]:
    """What else is known of the phases: runs whose plateau's end cannot be told, and the plateau's floor."""
    return [undetermined_sentence(group, threshold), _floor_sentence(measures)]


def _confidence_sentences(group: Group, measures: Measures, threshold: float | None) -> list[str]:
    auroc = measures["unseen_auroc"]
    if auroc is None:
        return []
    return [f"Its confidence tells seen from unseen people with an AUROC of {auroc.mean:.2g} (0.5 is chance)."]


def _prefix(group: Group, groups: list[Group]) -> str:
    return f"{group.label}: " if len(groups) > 1 else ""


def _floor_sentence(measures: Measures) -> str:
    """How high the plateau's floor is and when there was some knowledge; empty if it was not recorded."""
    floor, step, final = (measures[key] for key in ("plateau_floor", "plateau_floor_step", "final_knowledge"))
    if floor is None or step is None or final is None:
        return ""
    reached = measures["steps_to_5_knowledge"]
    when = "never worth 5% of the baseline"
    if reached is not None:
        when = f"worth 5% of the baseline from step {reached.mean:,.0f} on"
    return (
        f"Without knowledge of persons the loss was at least {in_sentence(floor.mean)} times the baseline (permuted "
        f"values, step {step.mean:,.0f}). What the model knew of persons was {when}, and "
        f"{in_sentence(final.mean)} times the baseline at the end."
    )


def _run_row(run: Run) -> list[str]:
    manifest, counts = run.manifest, run.manifest["parameters"]
    steps = run.evaluations.index[-1]
    return [
        str(run.path),
        str(run.seed),
        manifest["state"],
        f"{counts['total']:,} / {counts['non_embedding']:,} / {counts['active']:,}",
        f"{steps * run.config['training']['batch_size']:,}",
        f"{manifest.get('tokens', 0):,}",
        f"{manifest.get('wall_seconds', 0) / 60:.1f} min",
        manifest["device"],
        manifest.get("population_fingerprint", "")[:16],
    ]
