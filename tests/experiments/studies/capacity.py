"""Made-up runs of law-capacity, whose exponents are known."""

import numpy as np

from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies.law_capacity.grid import ARMS, SCALE, WIDE
from moefacts.experiments.studies.law_capacity.law_capacity import STUDY
from tests.experiments.studies.made_up import made_up_run, replicate

BATCH = 32
TOTALS = dict(zip((arm.name for arm in ARMS), (232_896, 662_400, 2_111_232, 2_268_608, 34_633_472, 2_127_616, 232_896), strict=True))  # fmt: skip
ACTIVE = dict(zip(TOTALS, (232_896, 662_400, 2_111_232, 236_992, 2_127_616, 1_128_448, 232_896), strict=True))
_FIRST_END = 400.0


def runs(exponent, scatter=0.01, seeds=3, last=None, arms=TOTALS):
    """Runs of the grid's arms and sizes.

    ``exponent(arm, people)`` is that between two sizes, at their geometric mean. Seeds are ``scatter`` apart in logs,
    each in its own order of arms and sizes.
    """
    made = []
    for grid_run in STUDY.grids[SCALE]:
        arm, size, number = grid_run.labels["arm"], grid_run.labels["size"], replicate(grid_run)
        if arm not in arms or number >= seeds:
            continue
        place = list(TOTALS).index(arm) + int(np.log2(size))
        moved = scatter * np.cos(2 * np.pi * (number / 3 + place * np.sqrt(2)))
        end = end_of(exponent, arm, size) * np.exp(moved)
        interval = int(end / 12)
        settings = (f"training.batch_size={BATCH}", f"evaluation.interval={interval}", f"evaluation.interval_unseen={100 * interval}")  # fmt: skip
        seed = 100 * size + number
        run = made_up_run(
            GridRun(settings, labels=grid_run.labels), end, start=end / 5, slope=5 / end, last=last, seed=seed
        )
        run.measures.update(parameters_total=TOTALS[arm], parameters_active=ACTIVE[arm])
        made.append(run)
    return made


def end_of(exponent, arm, size):
    end, at = _FIRST_END, 512
    while at < size:
        end, at = end * 2 ** exponent(arm, at * np.sqrt(2)), 2 * at
    return end


def by_total(arm, people):
    return _by(TOTALS, arm, people)


def by_active(arm, people):
    return _by(ACTIVE, arm, people)


def _by(parameters, arm, people):
    return 1 + 0.2 * np.log2(people / parameters[arm] / (2048 / parameters[WIDE.name]))
