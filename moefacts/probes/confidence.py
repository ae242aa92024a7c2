"""The confidence table: how sure a trained model is about every attribute of every evaluated biography."""

import numpy as np
import pandas as pd

from moefacts.runs.tables import CONFIDENCE, VALUE_MEASURES
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.evaluation import Evaluator
from moefacts.training.moment import Moment


def confidence_table(moment: Moment, evaluators: dict[str, Evaluator]) -> pd.DataFrame:
    """One row for every evaluated biography and attribute. Every process of a run must call it.

    Args:
        moment: the model after training.
        evaluators: cohort -> its evaluation biographies.

    Returns:
        A table with the columns of ``runs.tables.CONFIDENCE``.
    """
    tables = []
    for cohort, evaluator in evaluators.items():
        measures = moment.measure(evaluator)
        num_biographies = len(evaluator.plan)
        columns = {
            "cohort": cohort,
            "biography": np.repeat(np.arange(num_biographies), len(ATTRIBUTES)),
            "individual": np.repeat(evaluator.plan.individual_B, len(ATTRIBUTES)),
            "attribute": list(ATTRIBUTES) * num_biographies,
            "step": moment.step,
        }
        tables.append(pd.DataFrame(columns | {name: getattr(measures, name).ravel() for name in VALUE_MEASURES}))
    return pd.concat(tables, ignore_index=True)[list(CONFIDENCE.columns)]
