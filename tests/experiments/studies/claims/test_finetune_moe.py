"""The claims about what a mixture changes in fine-tuning, in every scenario."""

import numpy as np
import pandas as pd

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies._kinds import DENSE, EIGHT, EIGHT_TOTAL, MANY, MANY_TOTAL
from moefacts.experiments.studies.finetune_moe import STUDY, frozen
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.claims.fine_tuned import fine_tuned_run
from tests.experiments.studies.made_up import replicate

ALL = texts(STUDY)
KEPT, APART = ALL[:6], ALL[6:]
ARMS = (DENSE, EIGHT, MANY, EIGHT_TOTAL, MANY_TOTAL, frozen(EIGHT), frozen(MANY))
BETTER = dict(zip(ARMS, (0.4, 0.5, 0.6, 0.5, 0.5, 0.7, 0.8), strict=True))
WORSE = dict(zip(ARMS, (0.8, 0.6, 0.5, 0.6, 0.6, 0.3, 0.3), strict=True))


def runs(kept=BETTER, new=400.0, scatter=0.01, seeds=5, distance=0.3, probed=True):
    """Runs that keep ``kept`` by arm and whose old people use experts ``distance`` from those of new ones."""
    made = []
    for grid_run in STUDY.grids["laptop"]:
        arm, number = grid_run.labels["arm"], replicate(grid_run)
        if number >= seeds:
            continue
        moved = scatter * np.cos(2 * np.pi * (number / 5 + ARMS.index(arm) / 7))
        run = fine_tuned_run(grid_run, kept[arm] + moved, new)
        table = routing(distance + moved) if probed and arm != DENSE else None
        object.__setattr__(run.record, "probed", lambda _, table=table: table)
        made.append(run)
    return made


def routing(distance):
    """The probe's rows of two layers; 0.1 is the distance by chance, and other rows must not count."""
    rows = [
        {"step": step, "cohort": cohort, "layer": layer, "tokens": tokens, "moved": 0.2, "distance_to_learned": found}
        for step in (100, 200)
        for layer, shift in ((0, -0.05), (1, 0.05))
        for cohort in ("seen", "unseen")
        for tokens in ("all", "before_value")
        for found in [distance + shift if (step, cohort, tokens) == (200, "seen", "before_value") else 9.0]
    ]
    return pd.DataFrame(rows).assign(drawn=64, distance_by_chance=0.1)


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(WORSE, distance=0.05), ALL),
    Case(TOO_SHORT, lambda: runs(new=9000.0), KEPT, "half of the new values are not known"),
    Case(TOO_SHORT, lambda: runs(probed=False), APART, "routing was not probed"),
    Case(TOO_NOISY, lambda: runs(dict.fromkeys(ARMS, 0.5), scatter=0.3, distance=0.1), ALL),
    Case(TOO_NOISY, lambda: runs(seeds=1), ALL, "too few seeds"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
