"""The claims about the plateaus of mixtures, in every scenario."""

import numpy as np

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.dense_vs_moe.comparison import NAMES
from moefacts.experiments.studies.plateau_law.mixtures import STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate

ALL = texts(STUDY, "workstation")
NEVER = 50.0


def runs(ratios, scatter=0.0, seeds=3, last=None, smallest=0):
    """Runs whose plateaus end after 6 biographies per person, times ``ratios``: kind -> ratio; seeds are apart in logs."""
    made = []
    for grid_run in STUDY.grids["workstation"]:
        number, arms = replicate(grid_run), list(NAMES.values())
        place = arms.index(grid_run.labels["arm"])
        kind = list(NAMES)[place]
        moved = scatter * np.cos(2 * np.pi * (number / 3 + place / 5))
        leaves = ratios.get(kind, 1.0) * 6 * grid_run.labels["size"] / 32 * np.exp(moved) + number
        if number < seeds and grid_run.labels["size"] >= smallest:
            made.append(made_up_run(grid_run, leaves, slope=0.02, last=last))
    return made


def case(scenario, *arguments, says="", **shape):
    return Case(scenario, lambda: runs(*arguments, **shape), ALL, says, "workstation")


CASES = [
    case(HOLDS, {}),
    case(DOES_NOT_HOLD, dict.fromkeys(NAMES, 0.7) | {"dense": 1.0}),
    case(DOES_NOT_HOLD, dict.fromkeys(NAMES, 1.4) | {"dense": 1.0}),
    case(TOO_SHORT, dict.fromkeys(NAMES, NEVER), last=300),
    case(TOO_NOISY, {}, scatter=0.3),
    case(TOO_NOISY, {}, seeds=1, smallest=4096, says="too few seeds"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
