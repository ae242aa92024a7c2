"""The decisions table: what a trained model answers about people, how sure it is, and whether it is right."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from moefacts.models.transformer import Transformer
from moefacts.probes.value_distributions import beginnings_of, decide, value_log_probabilities
from moefacts.runs import keys
from moefacts.runs.tables import DECISIONS
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.evaluation import Evaluator

MOST_PEOPLE = 64  # so that the probe takes about a tenth of the time of an analysis at laptop scale
MOST_BEGINNINGS = 1 << 20  # that are read for a cohort: with very many values, fewer people are asked about
FEWEST_PEOPLE = 32
_BATCH_SIZE = 16


def num_people(num_beginnings: int) -> int:
    """Of how many people in a cohort the decisions are probed, each once, when so many beginnings are read for each."""
    return int(np.clip(MOST_BEGINNINGS // max(num_beginnings, 1), FEWEST_PEOPLE, MOST_PEOPLE))


def decisions_table(model: Transformer, batcher: Batcher, cohorts: Sequence[str], step: int) -> pd.DataFrame:
    """One row per person and attribute, as in ``runs.tables.DECISIONS``, from one biography of each person.

    The text before a value is that of the true biography, in templates held out for the person. The value itself is not
    given: the answer is the likeliest of all values of the attribute, and the confidence its probability. A model that
    was taught to say that it does not know has ``abstained`` where that is likelier than every value. The people of a
    cohort are drawn at random, at most ``num_people``, and are in random order.

    Args:
        model: the run's model.
        batcher: its population.
        cohorts: who is asked about.
        step: the number of updates that the model has had.
    """
    beginnings, tables = beginnings_of(batcher), []
    most = num_people(len(beginnings.read_M))
    for cohort in cohorts:
        evaluator = Evaluator(batcher, cohort, min(most, len(batcher.population.cohort(cohort))), _BATCH_SIZE)
        individual_B = evaluator.plan.individual_B
        truth_BA = batcher.population.value_PA[individual_B].astype(np.int64)
        shape = (len(individual_B), len(ATTRIBUTES))
        columns = {name: np.zeros(shape) for name in ("right", "abstained", "confidence", "loss", "entropy", "mass")}
        for rows, log_p_A in value_log_probabilities(model, evaluator, beginnings):
            for attribute, log_p_BV in enumerate(log_p_A):
                found = decide(log_p_BV, truth_BA[rows, attribute], beginnings.num_abstentions)
                columns["right"][rows, attribute] = found.answer == truth_BA[rows, attribute]
                for name in ("abstained", "confidence", "loss", "entropy", "mass"):
                    columns[name][rows, attribute] = getattr(found, name)
        num_values_A = [len(value_V) - beginnings.num_abstentions for value_V in beginnings.value_AV]
        tables.append(
            pd.DataFrame(
                {
                    "step": step,
                    "cohort": cohort,
                    "individual": np.repeat(individual_B, len(ATTRIBUTES)),
                    "attribute": list(ATTRIBUTES) * len(individual_B),
                    "num_values": num_values_A * len(individual_B),
                    "right": columns["right"].ravel().astype(np.int64),
                    "abstained": columns["abstained"].ravel().astype(np.int64),
                    "confidence": columns["confidence"].ravel(),
                    keys.ATTRIBUTE_LOSS: columns["loss"].ravel(),
                    "value_entropy": columns["entropy"].ravel(),
                    "mass": columns["mass"].ravel(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)[list(DECISIONS.columns)]
