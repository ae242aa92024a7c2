"""How sure a model is of its wrong answers, checkpoint by checkpoint of its fine-tuning."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from moefacts.models.transformer import Transformer
from moefacts.probes.shift import one_biography_each
from moefacts.runs.tables import WRONG_ANSWERS
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.checkpoint import load_weights

NUM_PEOPLE = 256


def confidences(accuracy: np.ndarray, confidence: np.ndarray) -> dict[str, float]:
    """The columns of ``runs.tables.WRONG_ANSWERS`` that depend on answers.

    Args:
        accuracy: 1 where a value is known, else 0.
        confidence: the model's confidence in its answers, of the same shape.

    Returns:
        The numbers of wrong and of right answers, and the mean confidence in either (NaN where there are none).
    """
    is_right = accuracy > 0.5
    found: dict[str, float] = {}
    for name, chosen in (("wrong", ~is_right), ("right", is_right)):
        found[name] = int(chosen.sum())
        found[f"confidence_{name}"] = float(confidence[chosen].mean(dtype=np.float64)) if chosen.any() else np.nan
    return found


def wrong_answers_table(
    run: Path, model: Transformer, batcher: Batcher, cohorts: Sequence[str], steps: Sequence[int]
) -> pd.DataFrame:
    """One row per checkpoint and cohort, as in ``runs.tables.WRONG_ANSWERS``, for one biography of each person.

    A confidence is that of a whole value: the product of the largest probabilities of its tokens, each after the true
    ones (``training.evaluation.ValueMeasures.value_confidence``). Afterwards ``model`` holds the weights of the last of
    ``steps``.

    Args:
        run: the run directory.
        model: the run's model.
        batcher: its population.
        cohorts: who is measured.
        steps: the checkpoints, ascending.
    """
    model.eval()
    evaluators, rows = {cohort: one_biography_each(batcher, cohort, NUM_PEOPLE) for cohort in cohorts}, []
    for step in steps:
        load_weights(run, step, model)
        for cohort, evaluator in evaluators.items():
            measures = evaluator.measure(model)
            found = confidences(measures.attribute_accuracy, measures.value_confidence)
            rows.append({"step": step, "cohort": cohort, **found})
    return pd.DataFrame(rows, columns=list(WRONG_ANSWERS.columns))
