"""The claims about what sets the plateau's length, in every scenario."""

import numpy as np

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.law_causes import STUDY
from moefacts.experiments.studies.law_causes.grids import COSINE, FINISHED, HALF_RATE, of_width
from moefacts.runs import keys
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

ALL = EARLIER, NO_EARLIER, WIDTH, HALF, EXPONENT = texts(STUDY)


def widths(end):
    """Arm -> factor of the plateau's end, which is ``end`` per doubling of width and 1.4 at half the rate."""
    of_rates = {of_width: 1.0, slowly: 1.4}
    return {
        name(width): of_rate * end**doublings
        for name, of_rate in of_rates.items()
        for width, doublings in ((32, -1), (64, 0), (128, 1))
    }


def slowly(width):
    return of_width(width, HALF_RATE)


def runs(wider=0.7, cosine=(0.8, 1.1), finished=0.4, tilt=0.0, scatter=0.03, seeds=4, last=None):
    """Runs whose usual plateaus end after 13 biographies per person.

    ``wider`` is the factor of the plateau's end per doubling of width, ``cosine`` the factors of the end and of the
    steps to 5% knowledge. The end with finished attention is ``finished`` of that at 512 people, and ``tilt`` is the
    difference of the exponents. Seeds are ``scatter`` apart in logs.
    """
    arms = widths(wider)
    made = []
    for grid_run in STUDY.grids["laptop"]:
        arm, size, number = grid_run.labels["arm"], grid_run.labels["size"], replicate(grid_run)
        if number >= seeds:
            continue
        place = 10 * len(arm) + size // 512
        moved = scatter * np.cos(2 * np.pi * (number / 3 + place / 7))
        end, known = cosine if arm == COSINE else (arms.get(arm, 1.0),) * 2
        end, known = (finished * (size / 512) ** tilt,) * 2 if arm == FINISHED else (end, known)
        usual = 13 * size / 32 * np.exp(moved)
        slope = 0.2 * BASELINE / usual
        control = 1.04 * BASELINE - slope * (known - end) * usual
        floor = {keys.evaluation_key(keys.SEEN, keys.CONTROL_LOSS): control}
        length = last or int(1.4 * max(end, known) * usual)
        made.append(made_up_run(grid_run, end * usual, slope=slope, last=length, extra=lambda _, floor=floor: floor))
    return made


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(1.3, cosine=(1.07, 0.88), finished=0.9, tilt=-0.3, scatter=0.01), ALL),
    Case(DOES_NOT_HOLD, lambda: runs(tilt=0.25), (EXPONENT,), "+0.2"),
    Case(TOO_SHORT, lambda: runs(last=200), (EARLIER, NO_EARLIER, WIDTH, HALF)),
    Case(TOO_SHORT, lambda: runs(last=600), (EXPONENT,), "no plateau end in some run at 2,048, 4,096 people"),
    Case(TOO_NOISY, lambda: runs(0.95, cosine=(0.9, 0.95), finished=0.45, scatter=0.4), ALL),
    Case(TOO_NOISY, lambda: runs(seeds=1), (WIDTH,), "too few seeds"),
    Case(TOO_NOISY, lambda: runs(seeds=1), (EXPONENT,), "fewer than 2 pairs"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
