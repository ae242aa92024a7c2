"""The claims about the variety of biographies, in every scenario."""

from functools import partial

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.templates import MANY, MANY_FIXED, ONE, STUDY
from tests.experiments.studies.claims.arms import NEVER, arm_runs
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate

ALL = texts(STUDY)
LEARNS, ONE_DOES_NOT, FIXED_DOES_NOT, *HIGHER = ALL
MEMORISES = {ONE: NEVER, MANY_FIXED: NEVER}
runs = partial(arm_runs, STUDY)


def near_the_threshold():
    """Runs that learn their texts and end on either side of 0.99 of the baseline in held-out ones."""
    return [
        made_up_run(run, 5000, last=600, plateau=(0.8, 1.0, 1.2)[replicate(run)], memorised=200)
        for run in STUDY.grids["laptop"]
    ]


CASES = [
    Case(HOLDS, lambda: runs(MEMORISES, memorised=200), ALL),
    Case(DOES_NOT_HOLD, lambda: runs({MANY: NEVER}, memorised=200), ALL),
    # One template would seem not to teach facts, because nothing has been learned at all
    Case(TOO_SHORT, lambda: runs({}, NEVER, share=0.3), (LEARNS, ONE_DOES_NOT, FIXED_DOES_NOT), "has not learned its own texts in seed"),
    Case(TOO_SHORT, lambda: runs({}, NEVER, share=0.3, stands={MANY: 1.02}), HIGHER, "both runs stopped before"),
    Case(TOO_NOISY, near_the_threshold, (LEARNS, ONE_DOES_NOT, FIXED_DOES_NOT)),
    Case(TOO_NOISY, lambda: runs({}, scatter=0.2), HIGHER),
    Case(TOO_NOISY, lambda: runs(MEMORISES, memorised=200, seeds=1), ALL, "too few seeds"),
]  # fmt: skip


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
