"""Made-up runs of law-capacity, whose exponents and retention times are known."""

import numpy as np
import pandas as pd

from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies.law_capacity.grid import ARMS, SCALE, WIDE
from moefacts.experiments.studies.law_capacity.law_capacity import STUDY
from moefacts.runs import keys
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

BATCH = 32
TOTALS = dict(zip((arm.name for arm in ARMS), (232_896, 662_400, 2_111_232, 2_268_608, 34_633_472, 2_127_616, 232_896), strict=True))  # fmt: skip
# Retention times of the arms, in an order that is neither that of width nor that of parameters.
SCALES = dict(zip(TOTALS, (90.0, 40.0, 70.0, 25.0, 50.0, 110.0, 35.0), strict=True))
_FIRST_END, _NUM_PEOPLE = 400.0, 90


def revisits(size):
    return size / BATCH


def runs(exponent, scale=lambda arm, size: SCALES[arm], scatter=0.01, seeds=3, last=None, arms=TOTALS, has_table=True):
    """Runs of the grid's arms and sizes.

    ``exponent(arm, people)`` is that between two sizes, at their geometric mean; ``scale(arm, size)`` the retention time.
    Seeds are ``scatter`` apart in logs, each in its own order of arms and sizes.
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
        settings = ("training.batch_size=32", f"evaluation.interval={interval}", f"evaluation.interval_unseen={100 * interval}")  # fmt: skip
        seed = 100 * size + number
        run = made_up_run(
            GridRun(settings, labels=grid_run.labels), end, start=end / 5, slope=5 / end, last=last, seed=seed
        )
        run.measures["parameters_total"] = TOTALS[arm]
        run.record.manifest["plateau_end"] = run.measures["plateau_end"]
        if has_table:
            run.record.__dict__["retention"] = retention(size, scale(arm, size) * np.exp(-moved), int(end), seed)
        made.append(run)
    return made


def end_of(exponent, arm, size):
    end, at = _FIRST_END, 512
    while at < size:
        end, at = end * 2 ** exponent(arm, at * np.sqrt(2)), 2 * at
    return end


def retention(size, scale, step, seed):
    """The probe's rows of people of whom less is known the longer ago they were shown."""
    random = np.random.default_rng(seed)
    since = np.ceil(random.exponential(revisits(size), _NUM_PEOPLE) + 8)
    known = 0.1 * np.exp(-since / scale) + 1e-4 * random.standard_normal(_NUM_PEOPLE)
    return pd.DataFrame(
        {
            "step": step,
            "individual": np.arange(_NUM_PEOPLE),
            "times_shown": 10,
            "steps_since_shown": since.astype(int),
            keys.ATTRIBUTE_LOSS: BASELINE * (1.03 - known),
            keys.CONTROL_LOSS: BASELINE * 1.03,
        }
    )


def by_retention(arm, people):
    return 1 + 0.3 * np.log2(revisits(people) / SCALES[arm])


def by_bits(arm, people):
    return 1 + 0.2 * np.log2(people / TOTALS[arm] / (2048 / TOTALS[WIDE.name]))


def by_width(arm, people):
    return {"width 64": 1.2, "width 128": 1.0, "width 256": 0.8}[arm.partition(",")[0]] + 0.02 * np.log2(people / 512)
