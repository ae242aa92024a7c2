"""The claims about an adaptive curriculum, in every scenario."""

from functools import partial

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.adaptive import AT_ONCE, STAGED, STUDY
from tests.experiments.studies.claims.arms import NEVER, arm_runs
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts

ALL = texts(STUDY)
*_, MATTERS = ALL
runs = partial(arm_runs, STUDY)
BEFORE = "both runs stopped before their plateaus ended"


def some_sizes(ends, large=0.6):
    """At 1,024 people plateaus end as ``ends`` says, at all other sizes everywhere at ``large`` of the steps."""
    return [
        small if small.labels["size"] == 1024 else other
        for small, other in zip(runs(ends), runs({}, large), strict=True)
    ]


CASES = [
    Case(HOLDS, lambda: runs({STAGED: 0.45, AT_ONCE: 0.5}), ALL),
    Case(DOES_NOT_HOLD, lambda: runs({STAGED: 0.7, AT_ONCE: 0.65}), ALL),
    Case(DOES_NOT_HOLD, lambda: some_sizes({AT_ONCE: 0.4}), (MATTERS,), "does not matter at 2,048, 4,096"),
    Case(TOO_SHORT, lambda: runs({}, NEVER, share=0.3, stands={AT_ONCE: 1.02, STAGED: 1.01}), ALL, BEFORE),
    Case(TOO_NOISY, lambda: runs({}, scatter=0.3), ALL),
    Case(TOO_NOISY, lambda: runs({STAGED: 0.45, AT_ONCE: 0.5}, seeds=1)[:5], ALL),
    Case(TOO_NOISY, lambda: runs({AT_ONCE: 0.5}, seeds=1), (MATTERS,), "fewer than 2 seeds at a size"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
