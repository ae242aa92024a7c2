"""The claims about what sets the plateau's length, in every scenario."""

import numpy as np
import pandas as pd

from moefacts.analysis.plateau_end import REACHED
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.law_causes import STUDY
from moefacts.experiments.studies.law_causes.grids import COSINE, FINISHED, HALF_RATE, LARGE_BATCH, of_width
from moefacts.runs import keys
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

ALL = EARLIER, NO_EARLIER, WIDTH, WIDE_FORGETS, SLOW_FORGETS, UPDATES, HALF, EXPONENT = texts(STUDY)
FORGETTING = (WIDE_FORGETS, SLOW_FORGETS, UPDATES)
PEOPLE = np.arange(150)


def widths(end, time_scale, slow_end=1.4, slow_scale=1.5):
    """Arm -> factors of the plateau's end and of the time scale, which are ``end`` and ``time_scale`` per doubling."""
    rates = {of_width: (1.0, 1.0), slowly: (slow_end, slow_scale)}
    return {
        name(width): (of_rate[0] * end**doublings, of_rate[1] * time_scale**doublings)
        for name, of_rate in rates.items()
        for width, doublings in ((32, -1), (64, 0), (128, 1))
    }


def slowly(width):
    return of_width(width, HALF_RATE)


SHOWN = widths(0.7, 1.5) | {LARGE_BATCH: (0.6, 1.0)}
NEAR = widths(0.95, 1.1, 1.1, 1.1) | {LARGE_BATCH: (0.8, 0.8)}
OTHERWISE = widths(1.3, 0.7, slow_scale=0.6) | {LARGE_BATCH: (0.6, 0.4)}


def runs(arms=SHOWN, cosine=(0.8, 1.1), finished=0.4, tilt=0.0, scatter=0.03, forgets=0.03, seeds=4, last=None):
    """Runs whose usual plateaus end after 13 biographies per person.

    ``arms`` are arm -> (factor of the plateau's end, of the time scale of forgetting), ``cosine`` the factors of the
    end and of the steps to 5% knowledge. The end with finished attention is ``finished`` of that at 512 people, and
    ``tilt`` is the difference of the exponents. Seeds are ``scatter`` apart in logs, in time scales ``forgets``.
    """
    made = []
    for grid_run in STUDY.grids["laptop"]:
        arm, size, number = grid_run.labels["arm"], grid_run.labels["size"], replicate(grid_run)
        if number >= seeds:
            continue
        place = 10 * len(arm) + size // 512
        moved, faded = (share * np.cos(2 * np.pi * (number / 3 + place / 7)) for share in (scatter, forgets))
        end, scale = arms.get(arm, (1.0, 1.0))
        end, known = cosine if arm == COSINE else (end, end)
        end, known = (finished * (size / 512) ** tilt,) * 2 if arm == FINISHED else (end, known)
        usual = 13 * size / 32 * np.exp(moved)
        slope = 0.2 * BASELINE / usual
        control = 1.04 * BASELINE - slope * (known - end) * usual
        floor = {keys.evaluation_key(keys.SEEN, keys.CONTROL_LOSS): control}
        length = last or int(1.4 * max(end, known) * usual)
        run = made_up_run(grid_run, end * usual, slope=slope, last=length, extra=lambda _, floor=floor: floor)
        if arm != FINISHED and run.measures["plateau_end_status"] == REACHED:  # patched runs are not probed
            run.record.manifest["plateau_end"] = run.measures["plateau_end"]
            run.record.__dict__["retention_at_end"] = forgotten(end * usual, 100 * scale * np.exp(faded))
        made.append(run)
    return made  # fmt: skip


def forgotten(step, time_scale):
    """The probe's rows at a step: knowledge of people fades from 0.1, with deviations that cancel out."""
    since = 2 * PEOPLE
    knowledge = 0.1 * np.exp(-since / time_scale) + 0.005 * (-1.0) ** PEOPLE
    columns = {"step": int(step), "individual": PEOPLE, "times_shown": 5 + PEOPLE % 7, "steps_since_shown": since}
    losses = {keys.ATTRIBUTE_LOSS: BASELINE * (1 - knowledge), keys.CONTROL_LOSS: BASELINE}
    return pd.DataFrame(columns | losses)


CASES = [
    Case(HOLDS, runs, ALL),
    Case(
        DOES_NOT_HOLD,
        lambda: runs(OTHERWISE, cosine=(1.07, 0.88), finished=0.9, tilt=-0.3, scatter=0.01),
        (EARLIER, NO_EARLIER, WIDTH, *FORGETTING, HALF, EXPONENT),
    ),
    Case(DOES_NOT_HOLD, lambda: runs(tilt=0.25), (EXPONENT,), "+0.2"),
    Case(TOO_SHORT, lambda: runs(last=200), (EARLIER, NO_EARLIER, WIDTH, HALF)),
    Case(TOO_SHORT, lambda: runs(last=80), FORGETTING, "no pair of runs"),
    Case(TOO_SHORT, lambda: runs(last=600), (EXPONENT,), "no plateau end in some run at 2,048, 4,096 people"),
    Case(TOO_NOISY, lambda: runs(NEAR, cosine=(0.9, 0.95), finished=0.45, scatter=0.4, forgets=0.9), ALL),
    Case(TOO_NOISY, lambda: runs(seeds=1), (WIDTH, *FORGETTING), "too few seeds"),
    Case(TOO_NOISY, lambda: runs(seeds=1), (EXPONENT,), "fewer than 2 pairs"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
