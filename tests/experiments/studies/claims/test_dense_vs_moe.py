"""The claims about mixtures of experts, in every scenario."""

import numpy as np

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.dense_vs_moe.comparison import UNBALANCED
from moefacts.experiments.studies.dense_vs_moe.dense_vs_moe import STUDY
from tests.experiments.studies.claims.arms import NEVER, steps_of
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

ALL = texts(STUDY)
KINDS = ("dense", "moe", "moe_total", "moe_switch", "moe_switch_total")


def runs(ends, unbalanced=0.0, collapse=0.9, unseen=0.0, scatter=0.0, seeds=3, share=1.0, stands=None):
    """The comparison's runs at the two smaller sizes.

    Args:
        ends: kind -> where its plateau ends, as a share of the steps.
        unbalanced: how much later it ends without balancing.
        collapse: how busy the busiest expert is without balancing, from 0 to 1; it is the rest of 1 with balancing.
        unseen: what is added to the loss on unseen people, over the baseline, in mixtures.
        scatter: how far ends differ between seeds, in another order for every kind and balancing.
        seeds: the number of seeds.
        share: the share of its steps after which a run was stopped.
        stands: kind -> its loss on the plateau over the baseline.
    """
    made = []
    for grid_run in STUDY.grids["laptop"]:
        labels, number = grid_run.labels, replicate(grid_run)
        if labels["part"] != "comparison" or labels["size"] > 1024 or number >= seeds:
            continue
        is_unbalanced = labels["balancing"] == UNBALANCED
        order = 2 * KINDS.index(labels["kind"]) + is_unbalanced
        moved = scatter * np.cos(2 * np.pi * (number / 3 + order / 10))
        steps = steps_of(grid_run)
        leaves = steps * (ends.get(labels["kind"], 0.5) + unbalanced * is_unbalanced) * np.exp(moved) + number
        busy = abs((0.0 if is_unbalanced else 1.0) - collapse) if not scatter else 0.5 + 0.3 * np.sign(moved)
        more = (unseen if not scatter else np.sign(moved)) * (labels["kind"] != "dense")

        def extra(step, more=more):
            return {"eval/unseen/attribute_loss": BASELINE * (1.5 + more)}

        plateau = (stands or {}).get(labels["kind"], 1.03)
        look = {
            "slope": 6 / steps,
            "last": int(share * steps),
            "collapse": busy,
            "extra": extra,
            "plateau": plateau,
        }
        made.append(made_up_run(grid_run, leaves, **look))
    return made


BETTER = {"moe": 0.4, "moe_switch": 0.4}
WORSE = {"moe": 0.7, "moe_switch": 0.7, "moe_total": 0.7, "moe_switch_total": 0.7}
CASES = [
    Case(HOLDS, lambda: runs(BETTER, unseen=0.2), ALL),
    Case(DOES_NOT_HOLD, lambda: runs(WORSE, -0.3, collapse=0.1, unseen=-0.2), ALL),
    Case(TOO_SHORT, lambda: runs(dict.fromkeys(KINDS, NEVER), share=0.3), ALL),
    Case(TOO_NOISY, lambda: runs({}, -0.03, scatter=0.4), ALL),
    Case(TOO_NOISY, lambda: runs(BETTER, seeds=1)[:3], ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
