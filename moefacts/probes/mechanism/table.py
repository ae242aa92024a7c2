"""All measures of the mechanism at some checkpoints of a run, in one table.

Shape legend: A attributes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from moefacts.errors import UserError
from moefacts.models.transformer import Transformer
from moefacts.probes.first_tokens import candidates_of
from moefacts.probes.mechanism.ablation import LAST, MEAN, NAME_END, ablations, router_swaps
from moefacts.probes.mechanism.interventions import ONLY, Subject
from moefacts.probes.mechanism.knock_out import knock_outs
from moefacts.probes.mechanism.lens import readings
from moefacts.probes.mechanism.neurons import memories
from moefacts.probes.mechanism.tracing import corrupted_probability, indirect_effects
from moefacts.runs.tables import MECHANISM
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.control import with_permuted_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.prompts import prompt_pairs
from moefacts.training.checkpoint import load_weights

NUM_PEOPLE = 64
_ATTENTION_MIXER = "attention"  # a recurrence has no edges to cut
OWN, PERMUTED = "own", "permuted"  # values: those of the person, or those of somebody else as a control


def mechanism_rows(model: Transformer, batcher: Batcher, cohort: str) -> Iterator[tuple[str, str, str, int, Tensor]]:
    """Every measure of the model as it is now: (measure, variant, place, layer, value by attribute).

    Raises:
        UserError: fewer than two people of the cohort have names of equal length.
    """
    subject, swapped = _subjects(model, batcher, cohort)
    candidates = candidates_of(batcher)
    clean_A = subject.by_attribute(subject.probability())
    mine, others = subject.recorded(), swapped.recorded()
    yield "probability", "clean", "value", 0, clean_A
    yield "probability", "other name", "value", 0, corrupted_probability(subject, swapped)
    if model.config.mixer == _ATTENTION_MIXER:
        for edges, window, layer, change_A in knock_outs(subject, clean_A):
            yield "knock-out", window, edges, layer, change_A
    for part, place, mode, layer, change_A in ablations(subject, others, clean_A):
        yield f"ablated {part}", mode, place, layer, change_A
    for part, place, mode, layer, change_A in router_swaps(subject, swapped, clean_A):
        yield f"ablated {part}", mode, place, layer, change_A
    for measure, place, layer, value_A in readings(subject, mine, candidates):
        yield "read", measure, place, layer, value_A
    for part, site, layer, effect_A in indirect_effects(subject, swapped, mine):
        yield "restored", part, site, layer, effect_A
    for measure, place, layer, value_A in memories(subject, candidates):
        yield "neurons", measure, place, layer, value_A


def _subjects(model: Transformer, batcher: Batcher, cohort: str) -> tuple[Subject, Subject]:
    one, other = prompt_pairs(batcher, cohort, NUM_PEOPLE)
    if not len(one.length_N):
        raise UserError(f"the cohort {cohort} has no two people whose names have equally many tokens")
    return Subject(model, one), Subject(model, other)


def main_rows(model: Transformer, batcher: Batcher, cohort: str) -> Iterator[tuple[str, str, str, int, Tensor]]:
    """Those of them that the table by layer shows (``analysis.mechanism.COLUMNS``), which take a tenth of the time.

    Raises:
        UserError: fewer than two people of the cohort have names of equal length.
    """
    subject, swapped = _subjects(model, batcher, cohort)
    clean_A = subject.by_attribute(subject.probability())
    yield "probability", "clean", "value", 0, clean_A
    if model.config.mixer == _ATTENTION_MIXER:
        edges = ("name from name", "value from name")
        for kind, window, layer, change_A in knock_outs(subject, clean_A, edges, (ONLY,)):
            yield "knock-out", window, kind, layer, change_A
    for part, place, mode, layer, change_A in ablations(
        subject, swapped.recorded(), clean_A, (MEAN,), (NAME_END, LAST)
    ):
        yield f"ablated {part}", mode, place, layer, change_A
    for measure, place, layer, value_A in readings(subject, subject.recorded(), candidates_of(batcher)):
        yield "read", measure, place, layer, value_A


def emergence_table(run: Path, model: Transformer, batcher: Batcher, steps: Sequence[int], cohort: str) -> pd.DataFrame:
    """``main_rows`` at ``steps``, as in ``runs.tables.EMERGENCE``. ``model`` keeps the weights of the last."""
    tables = []
    for step in steps:
        load_weights(run, step, model)
        tables.append(_frame(main_rows(model, batcher, cohort), step, cohort, OWN))
    return pd.concat(tables, ignore_index=True)


def _frame(found: Iterator[tuple[str, str, str, int, Tensor]], step: int, cohort: str, values: str) -> pd.DataFrame:
    """One row for each measure and attribute.

    Raises:
        UserError: a measure is no finite number, as of weights that are none.
    """
    rows = [
        (step, cohort, values, measure, variant, place, layer, attribute, value)
        for measure, variant, place, layer, value_A in found
        for attribute, value in zip(ATTRIBUTES, value_A.tolist(), strict=True)
    ]
    table = pd.DataFrame(rows, columns=list(MECHANISM.columns))
    wrong = table[~np.isfinite(table["value"])]
    if len(wrong):
        one = wrong.iloc[0]
        place = f"{one['measure']}, {one['variant']}, {one['place']}, layer {one['layer'] + 1}"
        raise UserError(f"at step {step} {len(wrong)} of {len(table)} measures are not finite numbers, first: {place}")
    return table


def mechanism_table(
    run: Path, model: Transformer, batcher: Batcher, steps: Sequence[int], cohorts: Sequence[str]
) -> pd.DataFrame:
    """The measures, as in ``runs.tables.MECHANISM``.

    The first of ``cohorts`` is measured at all ``steps``, the others at the last, and there the first also with values
    permuted over its people (``synthetic_data.control``). Afterwards ``model`` holds the weights of the last step.
    """
    first, last = cohorts[0], steps[-1]
    permuted = batcher.with_population(with_permuted_values(batcher.population, first))
    wanted = [(step, first, OWN) for step in steps]
    wanted += [(last, cohort, OWN) for cohort in cohorts[1:]] + [(last, first, PERMUTED)]
    tables = []
    for step, cohort, values in wanted:
        load_weights(run, step, model)
        found = mechanism_rows(model, batcher if values == OWN else permuted, cohort)
        tables.append(_frame(found, step, cohort, values))
    return pd.concat(tables, ignore_index=True)
