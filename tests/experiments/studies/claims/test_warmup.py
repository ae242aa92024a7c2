"""The claims about warm-ups, in every scenario."""

from functools import partial

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import warmup
from tests.experiments.studies.claims.arms import NEVER, arm_runs
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts

STUDY = warmup.STUDY
ALL = texts(STUDY)
LOSS, ACCURACY, END, *CHOICE = ALL
runs = partial(arm_runs, STUDY)
EARLY = "in 6 of 6 pairs both runs stopped before their plateaus ended, at step 300 or later"

CASES = [
    Case(HOLDS, lambda: runs({warmup.MAIN: 0.5}), ALL),
    Case(DOES_NOT_HOLD, lambda: runs({warmup.MAIN: 0.7}), ALL),
    Case(DOES_NOT_HOLD, lambda: runs({warmup.MAIN: NEVER}), (LOSS, ACCURACY, *CHOICE)),  # the others have left theirs
    # Without the rule about runs that stop early, the lower loss on the plateau would decide
    Case(TOO_SHORT, lambda: runs({}, NEVER, share=0.3, stands={warmup.MAIN: 1.02}), (LOSS, ACCURACY, *CHOICE), EARLY),
    Case(TOO_SHORT, lambda: runs({}, NEVER, share=0.3, stands={warmup.MAIN: 1.02}), (END,)),
    Case(TOO_NOISY, lambda: runs({}, scatter=0.2), ALL),
    Case(TOO_NOISY, lambda: runs({warmup.MAIN: 0.5}, seeds=1)[:6], ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
