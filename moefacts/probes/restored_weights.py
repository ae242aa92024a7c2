"""Which weights carry what fine-tuning did to old people, and what is left of it after free corrections.

Shape legend: N value tokens of a batch, C candidates (``first_tokens``), A attributes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from moefacts.models.transformer import Transformer
from moefacts.probes.first_tokens import Candidates, candidates_of, first_token_logits
from moefacts.probes.shift import common_part, one_biography_each
from moefacts.probes.weight_change import (
    Weights,
    interpolated,
    parts_of_groups,
    relative_change,
    restored,
    without_random_direction,
    without_top_direction,
)
from moefacts.runs.probe_table import ProbeTable
from moefacts.runs.tables import CORRECTED, RESTORED
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.randomness import stream_key
from moefacts.training.checkpoint import load_weights
from moefacts.training.evaluation import Evaluator, ValueMeasures, measure_batch

NUM_PEOPLE = 256
AMOUNTS = tuple(tenth / 10 for tenth in range(11))
NONE, ALL = "none", "all"  # groups: nothing restored, everything restored
INTERPOLATION, SHIFT_CORRECTION = "interpolation", "shift_correction"
_NUM_DRAWS = 3
_DIRECTIONS = {"": False, "_of_layers": True}  # suffix of a method -> whether embeddings are spared

Common = list[np.ndarray]  # for every attribute the common part of the shift of every person, (B, C)


@torch.no_grad()
def corrected_measures(
    model: Transformer, evaluator: Evaluator, candidates: list[Candidates], common: Common
) -> ValueMeasures:
    """The measures of the model when ``common`` is subtracted from the logits of every value's first token."""
    model.eval()
    parts: list[tuple[np.ndarray, ValueMeasures]] = []
    for rows, batch, at_N, packing in evaluator.batches:
        logits_NV = model(batch.inputs_BT, packing, at_N).logits.double()
        is_first_N = batch.value_position_BT[:, 1:].flatten()[at_N] == 0
        attribute_N, row_N = batch.attribute_BT[:, 1:].flatten()[at_N], at_N // batch.targets_BT.shape[1]
        for a, one in enumerate(candidates):
            places = (is_first_N & (attribute_N == a)).nonzero().flatten()
            shift_BC = torch.from_numpy(common[a][rows[row_N[places].cpu().numpy()]])
            token_C = torch.from_numpy(one.token_C).to(places.device)
            logits_NV[places[:, None], token_C] -= shift_BC.to(places.device)
        parts.append((rows, measure_batch(logits_NV, batch, at_N, evaluator.abstention_ids)))
    columns = {}
    for field in fields(ValueMeasures):
        columns[field.name] = np.zeros((len(evaluator.plan), len(ATTRIBUTES)), np.float32)
        for rows, part in parts:
            columns[field.name][rows] = getattr(part, field.name)
    return ValueMeasures(**columns)


def corrections(before: Weights, after: Weights, seed: int) -> Iterator[tuple[dict[str, object], Weights]]:
    """Every set of corrected weights with its method, amount and draw."""
    for amount in AMOUNTS:
        yield {"method": INTERPOLATION, "amount": amount, "draw": 0}, interpolated(before, after, amount)
    for suffix, in_layers_only in _DIRECTIONS.items():
        top = without_top_direction(before, after, in_layers_only)
        yield {"method": f"top_direction{suffix}", "amount": 1.0, "draw": 0}, top
        for draw in range(_NUM_DRAWS):
            generator = torch.Generator().manual_seed(stream_key(seed, "random direction", draw))
            control = without_random_direction(before, after, generator, in_layers_only)
            yield {"method": f"random_direction{suffix}", "amount": 1.0, "draw": draw}, control


def restored_tables(
    run: Path, model: Transformer, batcher: Batcher, old: Sequence[str], steps: Sequence[int]
) -> dict[ProbeTable, pd.DataFrame]:
    """Accuracy and loss, on whole values, of old people and of those who are learned.

    ``runs.tables.RESTORED`` has them with one group of weights at a time as it was at step 0, with ``none`` and with
    ``all``. ``runs.tables.CORRECTED`` has them after corrections that need no training: interpolation of weights, the
    removal of the top singular direction of every matrix's change or of a random one, and the removal of the common
    part of the shift of logits (``probes.shift``), which is estimated on the old cohort ``estimated_on``, on those of
    its people who are not measured.

    Afterwards ``model`` holds the weights of the last of ``steps``. The arguments are those of ``shift_table``.
    """
    model.eval()
    candidates, seed = candidates_of(batcher), batcher.population.seed
    evaluators = {cohort: one_biography_each(batcher, cohort, NUM_PEOPLE) for cohort in (*old, batcher.cohort)}

    def measured(weights: Weights, **labels: object) -> list[dict[str, object]]:
        model.load_state_dict(weights)
        return [
            {"cohort": cohort, **labels, **known_of(evaluator.measure(model))}
            for cohort, evaluator in evaluators.items()
        ]

    before, groups, methods = weights_at(run, 0, model), [], []
    logits = {cohort: first_token_logits(model, one, candidates) for cohort, one in evaluators.items()}
    for step in steps:
        after = weights_at(run, step, model)
        now = {cohort: first_token_logits(model, evaluators[cohort], candidates) for cohort in old}
        for estimated_on in old:
            shifts = [z_BC - start_BC for z_BC, start_BC in zip(now[estimated_on], logits[estimated_on], strict=True)]
            for cohort in (estimated_on, batcher.cohort):
                num_people = len(evaluators[cohort].plan)
                common = [
                    common_part(shift_BC)
                    if cohort == estimated_on
                    else shift_BC.mean(axis=0)[None].repeat(num_people, 0)
                    for shift_BC in shifts
                ]
                found = known_of(corrected_measures(model, evaluators[cohort], candidates, common))
                labels = {"cohort": cohort, "method": SHIFT_CORRECTION, "amount": 1.0, "draw": 0}
                methods.append({"step": step, **labels, "estimated_on": estimated_on, **found})
        for labels, weights in corrections(before, after, seed):
            methods += measured(weights, step=step, estimated_on="", **labels)
        groups += measured(after, step=step, group=NONE, relative_change=0.0)
        groups += measured(before, step=step, group=ALL, relative_change=0.0)
        for group, parts in parts_of_groups(after, model.config).items():
            change = relative_change(before, after, parts)
            groups += measured(restored(before, after, parts), step=step, group=group, relative_change=change)
        model.load_state_dict(after)
    return {
        RESTORED: pd.DataFrame(groups, columns=list(RESTORED.columns)),
        CORRECTED: pd.DataFrame(methods, columns=list(CORRECTED.columns)),
    }


def weights_at(run: Path, step: int, model: Transformer) -> Weights:
    """The weights of a checkpoint, which ``model`` holds afterwards, too."""
    load_weights(run, step, model)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def known_of(measures: ValueMeasures) -> dict[str, float]:
    """The accuracy and loss that tables of restored weights have."""
    return {
        name: float(getattr(measures, name).mean(dtype=np.float64)) for name in ("attribute_accuracy", "attribute_loss")
    }
