"""Made-up tables of the mechanism."""

import numpy as np
import pandas as pd

from moefacts.analysis import mechanism
from tests.experiments.studies.made_up import ATTRIBUTES

OTHERS = (
    mechanism.MLP_AT_VALUE,
    mechanism.ATTENTION_AT_VALUE,
    mechanism.BY_ATTENTION,
    mechanism.BY_MLP,
    *(("restored", part, site) for part in ("state", "attention", "mlp") for site in
      ("begin", "before name", "first name", "middle name", "last name", "after name", "last")),
    *(("knock-out", window, edges) for window in ("only", "up to", "from") for edges in
      ("name from name", "value from name", "value from words")),
)  # fmt: skip


def table(shown, num_layers, steps=(600,), cohort="seen", permuted=0.02):
    """A table in which measures have the values ``shown``: (measure, variant, place) -> one number per layer.

    Everything else is 0. A function of the step instead of numbers changes over training.
    """
    rows = []
    for values in ("own", "permuted") if permuted is not None else ("own",):
        for step in steps if values == "own" else steps[-1:]:
            cells = {place: [0.0] * num_layers for place in OTHERS} | {
                ("probability", "clean", "value"): [0.9],
                ("probability", "other name", "value"): [0.1],
            }
            cells |= {place: one(step) if callable(one) else one for place, one in shown.items()}
            for (measure, variant, place), by_layer in cells.items():
                by_layer = [permuted] * len(by_layer) if values == "permuted" and measure == "read" else by_layer
                rows += [
                    (step, cohort, values, measure, variant, place, layer, attribute, float(value))
                    for layer, value in enumerate(by_layer)
                    for attribute in ATTRIBUTES
                ]
    columns = ["step", "cohort", "values", "measure", "variant", "place", "layer", "attribute", "value"]
    return pd.DataFrame(rows, columns=columns)


def experts_table(needed, lost=0.5, people=30, num_experts=8):
    """A table of two layers, whose facts lose ``lost`` without one expert: ``needed`` of an attribute and a person."""
    rows = [
        (layer, expert, mode, 1 / num_experts, person, name, 0.9, lost * (expert == needed(attribute, person)))
        for layer in range(2)
        for expert in range(num_experts)
        for mode in ("zero", "another person")
        for person in range(people)
        for attribute, name in enumerate(ATTRIBUTES)
    ]
    columns = ["layer", "expert", "mode", "weight", "individual", "attribute", "probability", "lost"]
    return pd.DataFrame(rows, columns=columns)


def by_attribute(attribute, person):
    """The expert that a fact needs if experts hold attributes."""
    return attribute


def by_person(attribute, person):
    """The same if they hold groups of people."""
    return person % 8


def by_neither(attribute, person):
    """The same if nothing tells."""
    return int(np.random.default_rng([attribute, person]).integers(8))
