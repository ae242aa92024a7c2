"""The claims about spurious forgetting, in every scenario."""

from dataclasses import replace

import numpy as np
import pandas as pd

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.spurious_forgetting import BOTH_HALVES, OTHER_HALF, STUDY
from moefacts.runs import tables
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import ATTRIBUTES, made_up_run, replicate

ALL = texts(STUDY)
SHOWN = {OTHER_HALF: (0.4, 0.8), BOTH_HALVES: (0.9, 0.9)}
OTHERWISE = {OTHER_HALF: (0.95, 0.96), BOTH_HALVES: (0.5, 0.5)}
NEAR = {OTHER_HALF: (0.85, 0.86), BOTH_HALVES: (0.84, 0.85)}


def runs(kept=SHOWN, own_half=0.95, removed=0.3, new=200.0, scatter=0.01, last=800):
    """Runs that keep ``kept``, at the trough and at the highest point after it, of the accuracy on A.

    ``own_half`` and what the removal of the common shift brings back, ``removed``, are those of the shift probe. Seeds
    are ``scatter`` apart.
    """
    made = []
    for grid_run in STUDY.grids["laptop"]:
        arm, number = grid_run.labels["arm"], replicate(grid_run)
        learned = "B_prime" if arm == OTHER_HALF else "C"
        moved = scatter * np.cos(2 * np.pi * (number / 5 + len(arm) / 7))
        started = replace(grid_run, overrides=(*grid_run.overrides, "init.run=x", "init.step=1", "init.source=y"))
        low, high = kept[arm]
        run = made_up_run(started, 400.0, last=last, extra=lambda step, low=low + moved, high=high - moved, learned=learned: known(
            step, low, high, new, learned
        ))  # fmt: skip
        run.record.manifest["seen_before"] = [[0, 512]]
        probed = table(own_half + moved, 0.5, 0.5 + removed + 2 * moved)
        run.record.__dict__["probed"] = lambda which, probed=probed: probed if which is tables.SHIFT else None
        made.append(run)
    return made


def known(step, low, high, new, learned):
    """The accuracies at a step."""
    share = np.interp(step, [0, 40, 320, 800], [1, low, high, high])
    shares = {"A": 0.95 * share, "B": 0.95, learned: min(1.0, 0.5 * step / new), "unseen": 0.01}
    losses = {f"eval/{name}/attribute_loss": 5 * (1 - one) for name, one in shares.items()}
    return losses | {f"eval/{name}/attribute_accuracy": one for name, one in shares.items()}


def table(own_half, accuracy, removed):
    """The shift probe's rows near the trough and at the end."""
    columns = {"own_half": own_half, "accuracy": accuracy, "accuracy_common_removed": removed}
    columns |= {"accuracy_common_only": accuracy, "accuracy_random_shift": 0.9}
    common = {"cohort": "A", "tested": "A"} | columns
    return pd.DataFrame([{"step": step, "attribute": one} | common for step in (40, 800) for one in ATTRIBUTES])


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(OTHERWISE, own_half=0.5, removed=-0.2), ALL),
    Case(TOO_SHORT, lambda: runs(last=160, new=4000.0), ALL, "half of the new values are not known"),
    Case(TOO_NOISY, lambda: runs(NEAR, own_half=0.8, removed=0.0, scatter=0.15), ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
