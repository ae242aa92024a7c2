"""The claims about distributions of people, in every scenario."""

from functools import partial

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.distributions import CELEBRITIES, STUDY, SUBSET, WARMUP, ZIPF
from tests.experiments.studies.claims.arms import NEVER, arm_runs
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts

ALL = texts(STUDY)
runs = partial(arm_runs, STUDY)
BEFORE = "both runs stopped before their plateaus ended"

CASES = [
    Case(HOLDS, lambda: runs({WARMUP: 0.5, ZIPF: 0.55, SUBSET: NEVER}), ALL),
    Case(DOES_NOT_HOLD, lambda: runs({WARMUP: 0.7, ZIPF: 0.65}), ALL),
    Case(DOES_NOT_HOLD, lambda: runs({WARMUP: 0.5, CELEBRITIES: 0.4}), ALL[:1]),  # the best of the others counts
    Case(TOO_SHORT, lambda: runs({}, NEVER, share=0.3, stands={WARMUP: 1.01, ZIPF: 1.02}), ALL, BEFORE),
    Case(TOO_NOISY, lambda: runs({}, scatter=0.2), ALL),
    Case(TOO_NOISY, lambda: runs({WARMUP: 0.5}, seeds=1)[-5:], ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
