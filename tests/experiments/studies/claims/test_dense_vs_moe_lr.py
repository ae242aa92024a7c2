"""The claim about learning rates of every kind of model, in every scenario."""

import numpy as np

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.dense_vs_moe import RATES_STUDY as STUDY
from moefacts.experiments.studies.dense_vs_moe.grids import RATES
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run

TRIED = [float(rate) for rate in RATES["laptop"]]


def runs(best=TRIED[1], last=1300, kinds=5):
    """Runs whose plateau ends the earlier, the nearer their rate is to ``best``, up to step ``last``."""
    made = []
    for grid_run in STUDY.grids["laptop"][: kinds * len(TRIED)]:
        late = 100 * abs(np.log(grid_run.labels["learning_rate"] / best))
        made.append(made_up_run(grid_run, 500 + late, slope=0.003, last=last))
    return made


CASES = [
    Case(HOLDS, runs, texts(STUDY)),
    Case(DOES_NOT_HOLD, lambda: runs(TRIED[0]), texts(STUDY), "at an edge"),
    Case(TOO_SHORT, lambda: runs(last=300), texts(STUDY), "stopped"),
    Case(TOO_NOISY, lambda: runs(kinds=4), texts(STUDY), "not all rates"),
]


@parametrized(CASES)
def test_the_claim_has_its_answer(case):
    check(STUDY, case)
