"""Retention: what a model knows of each person, how often training has shown the person, and how long ago.

Shape legend: B biographies, P people who are evaluated.
"""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from moefacts.models.transformer import Transformer
from moefacts.runs import keys, layout
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.exposure import Exposure, exposures
from moefacts.training.checkpoint import load_state, load_weights
from moefacts.training.control import control_evaluator
from moefacts.training.evaluation import Evaluator

BIOGRAPHIES_PER_PERSON = 2
MOST_BIOGRAPHIES = 4096
NUM_CHECKPOINTS = 6
_BATCH_SIZE = 256


def choose_checkpoints(steps: Sequence[int], plateau_end: int | None) -> list[int]:
    """The checkpoints that are probed: the one nearest to the plateau's end, the last, and some between them.

    These are the nearest to steps that divide what lies between the two evenly. If the plateau did not end, the first
    checkpoint takes its place.
    """

    def nearest(mark: float) -> int:
        return min(steps, key=lambda step: (abs(step - mark), step))

    first = steps[0] if plateau_end is None else nearest(plateau_end)
    return sorted({nearest(mark) for mark in np.linspace(first, steps[-1], NUM_CHECKPOINTS)})


def retention_table(
    run: Path, model: Transformer, batcher: Batcher, batch_size: int, steps: Sequence[int]
) -> pd.DataFrame:
    """One row per person and checkpoint, as in ``runs.tables.RETENTION``, in held-out templates.

    Everybody in the cohort that is trained on has two biographies, as long as this makes no more than 4,096. Of larger
    cohorts, as many people as possible are drawn at random, each with at least one. People who are replayed are left
    out, because this run is not the first that has shown them. Afterwards ``model`` holds the weights of the last
    checkpoint.

    Args:
        run: the run directory.
        model: the run's model.
        batcher: the run's population and distribution.
        batch_size: the number of biographies per training step.
        steps: the checkpoints, ascending, as from ``choose_checkpoints``.
    """
    assert batcher.distribution is not None
    distribution, last = batcher.distribution, layout.checkpoint_steps(run)[-1]
    widening_steps = load_state(run, last).widening_steps

    def num_active(step: int) -> int | None:
        return distribution.num_active(bisect_right(widening_steps, step))

    num_biographies = min(MOST_BIOGRAPHIES, BIOGRAPHIES_PER_PERSON * len(batcher.population.cohort(batcher.cohort)))
    true = Evaluator(batcher, batcher.cohort, num_biographies, _BATCH_SIZE)
    permuted = control_evaluator(batcher, batcher.cohort, num_biographies, _BATCH_SIZE)
    tables = []
    model.eval()
    for exposure in exposures(batcher.population, distribution, batch_size, steps, num_active):
        load_weights(run, exposure.step, model)
        loss_B, control_B = (
            one.measure(model).attribute_loss.mean(axis=1, dtype="float64") for one in (true, permuted)
        )
        tables.append(_by_person(exposure, true.plan.individual_B, loss_B, control_B))
    load_weights(run, last, model)
    return pd.concat(tables, ignore_index=True)


def _by_person(exposure: Exposure, individual_B: np.ndarray, loss_B: np.ndarray, control_B: np.ndarray) -> pd.DataFrame:
    """The means over each person's biographies, beside what training has shown of the person."""
    biographies = pd.DataFrame({"individual": individual_B, keys.ATTRIBUTE_LOSS: loss_B, keys.CONTROL_LOSS: control_B})
    shown = pd.DataFrame(
        {
            "step": exposure.step,
            "individual": exposure.individual_P,
            "times_shown": exposure.times_shown_P,
            "steps_since_shown": exposure.steps_since_shown_P,
        }
    )
    return shown.merge(biographies.groupby("individual", as_index=False).mean(), on="individual")
