"""How sure a trained model is, person by person and attribute by attribute: a table for the analysis."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from moefacts import run_files
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.distributed import is_main
from moefacts.training.evaluation import Evaluator, ValueMeasures
from moefacts.training.loop import EVALUATED_COHORTS, Trainer


def write_confidence(run: Path, trainer: Trainer) -> None:
    """Write ``probes/confidence.parquet``: a row for every evaluated biography and attribute. All processes call it.

    Columns: cohort, biography, individual, attribute, step, and every field of ``ValueMeasures``.
    """
    evaluation = trainer.config.evaluation
    tables = []
    for cohort in EVALUATED_COHORTS:
        evaluator = Evaluator(trainer.batcher, cohort, evaluation.biographies, evaluation.batch_size)
        measures = evaluator.measure(trainer.predictor, trainer.step.autocast())
        num_rows = len(evaluator.plan) * len(ATTRIBUTES)
        columns = {
            "cohort": pa.array([cohort] * num_rows),
            "biography": pa.array(np.repeat(np.arange(len(evaluator.plan)), len(ATTRIBUTES))),
            "individual": pa.array(np.repeat(evaluator.plan.individual_B, len(ATTRIBUTES))),
            "attribute": pa.array(list(ATTRIBUTES) * len(evaluator.plan)),
            "step": pa.array(np.full(num_rows, trainer.state.step)),
        }
        columns |= {field.name: pa.array(getattr(measures, field.name).ravel()) for field in fields(ValueMeasures)}
        tables.append(pa.table(columns))
    if not is_main():
        return
    target = run / run_files.PROBES / run_files.CONFIDENCE
    target.parent.mkdir(exist_ok=True)
    run_files.write_durably(target, lambda temporary: pq.write_table(pa.concat_tables(tables), temporary))
