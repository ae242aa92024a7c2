"""The claims about what sets the law's exponent, in every scenario."""

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.law_capacity.grid import SCALE
from moefacts.experiments.studies.law_capacity.law_capacity import STUDY
from tests.experiments.studies.capacity import TOTALS, by_active, by_total, runs
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts

ALL = LOWER, TOTAL, SAME_TOTAL, SAME_WIDTH = texts(STUDY, SCALE)


def higher_if_wide(arm, people):
    return 2 - by_total(arm, people)


def between(arm, people):
    return (by_total(arm, people) + by_active(arm, people)) / 2


def case(scenario, exponent, *claims, says="", **shape):
    return Case(scenario, lambda: runs(exponent, **shape), claims, says, SCALE)


FEW = "fewer than 4 sizes have plateau ends in 3 seeds of both"
NO_ARMS = "fewer than 3 arms"
CASES = [
    case(HOLDS, by_total, LOWER, TOTAL, SAME_TOTAL),
    case(HOLDS, by_active, LOWER, SAME_WIDTH),
    case(DOES_NOT_HOLD, by_total, SAME_WIDTH),
    case(DOES_NOT_HOLD, by_active, TOTAL, SAME_TOTAL),
    case(DOES_NOT_HOLD, higher_if_wide, LOWER),
    case(TOO_SHORT, by_total, LOWER, SAME_TOTAL, SAME_WIDTH, says=FEW, last=100),
    case(TOO_SHORT, by_total, TOTAL, says=NO_ARMS, last=100),
    case(TOO_NOISY, by_active, LOWER, SAME_TOTAL, SAME_WIDTH, scatter=1.2),
    case(TOO_NOISY, between, TOTAL, scatter=0.1),
    case(TOO_NOISY, by_total, LOWER, SAME_TOTAL, SAME_WIDTH, says=FEW, seeds=2),
    case(TOO_NOISY, by_total, TOTAL, says=NO_ARMS, seeds=2),
    case(TOO_NOISY, by_total, TOTAL, says="no mixture", arms=[arm for arm in TOTALS if "dense" in arm]),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
