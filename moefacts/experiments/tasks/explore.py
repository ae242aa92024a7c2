"""Write the page on which the people of a run are explored, one by one and checkpoint by checkpoint.

Shape legend: B people, Q values of a biography, T tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from moefacts.analysis.explore_page import MOST_BYTES, explore_page, moment, most_bytes
from moefacts.analysis.phases import phase_measures
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import Materials, load_run
from moefacts.experiments.tasks.probe import moments_of
from moefacts.models.transformer import ATTENTION, Transformer
from moefacts.probes.attention_signatures import places_of
from moefacts.probes.reading import readings
from moefacts.probes.routing_choices import mixtures
from moefacts.probes.value_distributions import beginnings_of
from moefacts.runs import layout
from moefacts.runs.durable import write_durably
from moefacts.runs.manifest import read_manifest
from moefacts.runs.reader import Run, read_run
from moefacts.runs.shown import shown_in_words
from moefacts.synthetic_data.biography import BiographyPlan, Role
from moefacts.synthetic_data.cohorts import COHORTS
from moefacts.synthetic_data.near_names import person_of
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import Population
from moefacts.synthetic_data.sampling import evaluation_plan
from moefacts.training.checkpoint import load_weights
from moefacts.training.evaluation import Biographies

PEOPLE = 12  # of each cohort
MOST_STEPS = 12
TOP = 5
_BATCH_SIZE = 16
_MORE_THAN_FIT = 2000  # people of a cohort
_SIGNS = dict.fromkeys((Role.FIRST_NAME, Role.MIDDLE_NAME, Role.LAST_NAME), "n")
_SIGNS |= dict.fromkeys((Role.FIRST_VALUE, Role.LATER_VALUE), "v")


@dataclass(frozen=True)
class Explored:
    """What was written: the page, its size, and the people and checkpoints in it."""

    path: Path
    num_bytes: int
    num_people: int
    steps: list[int]


def explore_run(
    path: Path,
    out: Path | None = None,
    people: int | None = None,
    names: Sequence[str] = (),
    steps: Sequence[int] | None = None,
) -> Explored:
    """Write the page of a run.

    Everybody has the biography in held-out templates that evaluation and the decisions probe use.

    Args:
        path: the run directory.
        out: the file to write; None for ``explore.html`` in the run.
        people: how many people of each cohort are shown; None for ``PEOPLE``, for fewer where the page would be too
            large, or for none beside ``names``.
        names: full names of people who are shown first.
        steps: the checkpoints; None for at most ``MOST_STEPS``, see ``spread``.

    Raises:
        UserError: there is no checkpoint (of a step), nobody has one of the names, the page would be too large, or
            ``out`` is a folder.
    """
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        what = "is a folder" if out.is_dir() else f"is in {out.parent}, which is no folder"
        raise UserError(f"--out {out} {what}; name a file in a folder that exists, such as {layout.EXPLORE}")
    there = layout.checkpoint_steps(path)
    config, materials = load_run(path, next((step for step in steps or () if step not in there), None))
    run = read_run(path)
    chosen = sorted(set(steps)) if steps else spread(there, moments_of(run))
    plan = _plan(path, materials, people, names, len(chosen))
    texts: dict[str, int] = {}
    data = _described(config, read_manifest(path), materials, plan, texts)
    data |= {"run": path.resolve().name, "steps": chosen, "plateau": _plateau(run)}
    _add_moments(path, materials, plan, data, texts)
    page = explore_page(data | {"texts": list(texts)})
    if len(page) > MOST_BYTES:
        raise _too_large(len(plan), len(chosen))
    out = out or path / layout.EXPLORE
    write_durably(out, page)
    return Explored(out, len(page), len(plan), chosen)


def spread(there: Sequence[int], wanted: Sequence[int], most: int = MOST_STEPS) -> list[int]:
    """At most ``most`` checkpoints of ``there``: the first, ``wanted``, the last, and others evenly in log steps."""
    found = always = {there[0], *wanted, there[-1]}
    begin = max(there[min(1, len(there) - 1)], 1)
    for number in range(2, 10 * most):
        marks = np.geomspace(begin, max(there[-1], begin), number)
        more = always | {there[place] for place in np.abs(np.subtract.outer(there, marks)).argmin(axis=0)}
        if len(more) > most:
            break
        found = more
    return sorted(found)


def _plateau(run: Run) -> list[float | None]:
    """The steps at which the plateau begins and ends, where they are known and mean something."""
    found = phase_measures(run)
    return [None if run.is_fine_tuned else found[key] for key in ("plateau_start", "plateau_end_interpolated")]


def _plan(path: Path, materials: Materials, people: int | None, names: Sequence[str], num_steps: int) -> BiographyPlan:
    """The biographies of the people who are shown: those named, then the first whom evaluation asks about."""
    population = materials.batcher.population
    named = list(dict.fromkeys(person_of(population, name, path) for name in names))
    most = people or (0 if names else PEOPLE)
    for number in range(min(most, _MORE_THAN_FIT), -1, -1):
        plan = _biographies(population, named, number)
        if _bound(materials, plan, num_steps) <= MOST_BYTES:
            break
        if people is not None or number <= 1:
            raise _too_large(len(plan), num_steps)
    return plan


def _biographies(population: Population, named: Sequence[int], number: int) -> BiographyPlan:
    parts = []
    for individual in named:
        cohort = population.cohort_of(individual)
        every = evaluation_plan(population, cohort, len(population.cohort(cohort)))
        parts.append(every.rows(np.flatnonzero(every.individual_B == individual)))
    for cohort in COHORTS:
        size = min(number, len(population.cohorts[cohort]))
        if size:
            others = evaluation_plan(population, cohort, size)
            parts.append(others.rows(~np.isin(others.individual_B, named)))
    columns = ("individual_B", "attribute_BA", "template_BA")
    return BiographyPlan(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def _too_large(num_people: int, num_steps: int) -> UserError:
    return UserError(
        f"the page of {num_people:,} people at {num_steps} checkpoints would be larger than {MOST_BYTES / 1e6} MB; "
        "take fewer with --people or --steps"
    )


def _bound(materials: Materials, plan: BiographyPlan, num_steps: int) -> int:
    batch, model = materials.batcher.assemble(plan), materials.model
    routed = [mixture.config.num_experts for _, mixture in mixtures(model)]
    return most_bytes(
        (batch.length_B - 1).tolist(),
        places_of(batch)["attribute"].tolist(),
        num_steps,
        TOP,
        _num_attention_layers(model),
        len(routed),
        max(routed, default=0),
    )


def _num_attention_layers(model: Transformer) -> int:
    return model.config.num_layers if model.config.mixer == ATTENTION else 0


def _described(
    config: RunConfig, manifest: Mapping[str, Any], materials: Materials, plan: BiographyPlan, texts: dict[str, int]
) -> dict[str, Any]:
    """What the page says of layers and people, whose ``moments`` are empty.

    Layers are counted from 1, and experts from 0. ``texts`` gives texts their numbers. The roles of tokens are "n" in
    names, "v" in values and "." elsewhere.
    """
    batcher, model = materials.batcher, materials.model
    batch, population, routed = batcher.assemble(plan), batcher.population, list(mixtures(model))
    is_shared = [moe.config.kind == "expert_choice" or moe.config.capacity_factor is not None for _, moe in routed]
    trained = "fine-tuned" if config.init.is_on else "trained"
    num_people = sum(len(population.cohort(cohort)) for cohort in batcher.cohorts)
    people = []
    for row, at_Q in enumerate(places_of(batch)["attribute"].tolist()):
        individual, length = int(plan.individual_B[row]), int(batch.length_B[row]) - 1  # the last token is no input
        facts, cohort = population.facts(individual), population.cohort_of(individual)
        people.append(
            {
                "name": population.full_name(individual),
                "cohort": cohort,
                "status": shown_in_words(config, manifest, individual, cohort),
                "tokens": batcher.tokenizer.tokens(batch.token_BT[row, :length].tolist()),
                "roles": "".join(_SIGNS.get(role, ".") for role in batch.role_BT[row, :length].tolist()),
                "values": [
                    {"attribute": a, "at": at, "truth": texts.setdefault(facts[ATTRIBUTES[a]], len(texts))}
                    for a, at in zip(plan.attribute_BA[row].tolist(), at_Q, strict=True)
                ],
                "moments": [],
            }
        )
    return {
        "about": f"Model: {config.model.preset}, {trained} on {num_people:,} people.",
        "attributes": [attribute.replace("_", " ") for attribute in ATTRIBUTES],
        "abstentions": list(batcher.abstentions),
        "num_layers": model.config.num_layers,
        "num_attention_layers": _num_attention_layers(model),
        "expert_layers": [layer + 1 for layer, _ in routed],
        "num_experts": max((moe.config.num_experts for _, moe in routed), default=0),
        "is_shared": any(is_shared),
        "people": people,
    }


def _add_moments(
    path: Path, materials: Materials, plan: BiographyPlan, data: dict[str, Any], texts: dict[str, int]
) -> None:
    """Let the model of every checkpoint read everybody's biography."""
    batcher, screen = materials.batcher, Console(stderr=True)
    population, beginnings = batcher.population, beginnings_of(batcher)
    biographies = Biographies(batcher, plan, _BATCH_SIZE)
    said_A = [(*population.pools.values(attribute), *batcher.abstentions) for attribute in ATTRIBUTES]
    for step in track(data["steps"], "checkpoints", console=screen, transient=True, disable=not screen.is_terminal):
        load_weights(path, step, materials.model)
        for row, reading in readings(materials.model, biographies, beginnings, population, TOP):
            answers = []
            for attribute, answer_K, share_K in zip(
                plan.attribute_BA[row], reading.answer_QK, reading.probability_QK, strict=True
            ):
                said = [said_A[attribute][answer] for answer in answer_K]
                answers.append([(texts.setdefault(one, len(texts)), p) for one, p in zip(said, share_K, strict=True)])
            data["people"][row]["moments"].append(
                moment(answers, reading.truth_Q.tolist(), reading.attention_LT, reading.expert_T)
            )
