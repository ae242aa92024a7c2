"""Which weights hold what was learned since an earlier checkpoint: groups of them are put back, one at a time."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from moefacts.models.transformer import Transformer
from moefacts.probes.restored_weights import ALL, NONE, NUM_PEOPLE, known_of, weights_at
from moefacts.probes.shift import one_biography_each
from moefacts.probes.weight_change import Parts, Weights, parts_of_groups, relative_change, restored
from moefacts.runs.tables import MECHANISM_RESTORED
from moefacts.synthetic_data.batches import Batcher


def parts_of_layers(weights: Weights) -> dict[str, Parts]:
    """All weights of each layer, as ``layer_0`` and so on."""
    found: dict[str, Parts] = {}
    for name in weights:
        if name.startswith("layers."):
            found.setdefault(f"layer_{name.split('.')[1]}", []).append((name, slice(None)))
    return found


def restored_since(run: Path, model: Transformer, batcher: Batcher, steps: Sequence[int], cohort: str) -> pd.DataFrame:
    """The last checkpoint with one group of weights, or one layer, as at each of the earlier ones of ``steps``.

    Accuracy and loss are those of whole values, in one biography of up to ``NUM_PEOPLE`` people of the cohort, with
    nothing and with everything put back, too. Afterwards ``model`` holds the weights of the last step.

    Returns:
        The table ``runs.tables.MECHANISM_RESTORED``; empty with a single step.
    """
    evaluator, rows = one_biography_each(batcher, cohort, NUM_PEOPLE), []
    after = weights_at(run, steps[-1], model)
    for since in steps[:-1]:
        before = weights_at(run, since, model)
        mixed: dict[str, tuple[Weights, float]] = {NONE: (after, 0.0), ALL: (before, 0.0)}
        for group, parts in (parts_of_groups(after, model.config) | parts_of_layers(after)).items():
            mixed[group] = restored(before, after, parts), relative_change(before, after, parts)
        for group, (weights, change) in mixed.items():
            model.load_state_dict(weights)
            known = known_of(evaluator.measure(model))
            rows.append({"since": since, "group": group, "relative_change": change, **known})
    model.load_state_dict(after)
    return pd.DataFrame(rows, columns=list(MECHANISM_RESTORED.columns))
