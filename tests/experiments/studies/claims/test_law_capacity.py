"""The claims about what sets the law's exponent, in every scenario."""

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.law_capacity.grid import NARROW_SLOW, SCALE, WIDE
from moefacts.experiments.studies.law_capacity.law_capacity import STUDY
from tests.experiments.studies.capacity import SCALES, by_bits, by_retention, by_width, revisits, runs
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts

ALL = FORGOTTEN, LONGER, BITS, SAME_TOTAL, SAME_WIDTH = texts(STUDY, SCALE)


def longer_than_revisits(arm, size):
    """Nobody is forgotten before they return, and wide models forget faster."""
    return (2 if arm == WIDE.name else 4) * revisits(size)


def alike(arm, size):
    return {WIDE.name: 60.0, NARROW_SLOW.name: 60.0}.get(arm, 40.0)


def unlike(arm, people):
    """Exponents on either side of 1 in an order of neither bits nor retention."""
    return 1 + 0.1 * (-1) ** list(SCALES).index(arm)


def case(scenario, exponent, *claims, says="", **shape):
    return Case(scenario, lambda: runs(exponent, **shape), claims, says, SCALE)


FEW = "fewer than 4 sizes have plateau ends in 3 seeds of both"
NONE = "no two neighbouring sizes have plateau ends in 3 seeds"
CASES = [
    case(HOLDS, by_retention, FORGOTTEN, LONGER),
    case(HOLDS, by_bits, BITS, SAME_TOTAL, scale=longer_than_revisits),
    case(HOLDS, by_width, SAME_WIDTH),
    case(DOES_NOT_HOLD, by_retention, BITS),
    case(DOES_NOT_HOLD, by_bits, FORGOTTEN, LONGER, SAME_WIDTH, scale=longer_than_revisits),
    case(DOES_NOT_HOLD, by_width, SAME_TOTAL),
    case(TOO_SHORT, by_bits, FORGOTTEN, says=NONE, last=100),
    case(TOO_SHORT, by_bits, LONGER, says="no pair of runs has both values", last=100),
    case(TOO_SHORT, by_bits, BITS, says="fewer than 3 arms", last=100),
    case(TOO_SHORT, by_bits, SAME_TOTAL, SAME_WIDTH, says=FEW, last=100),
    case(TOO_NOISY, by_retention, FORGOTTEN, scatter=0.4),
    case(TOO_NOISY, by_retention, LONGER, scatter=0.4, scale=alike),
    case(TOO_NOISY, unlike, BITS, scatter=0.1),
    case(TOO_NOISY, by_width, SAME_TOTAL, scatter=0.8),
    case(TOO_NOISY, by_width, SAME_WIDTH, scatter=0.8),
    case(TOO_NOISY, by_bits, FORGOTTEN, says=NONE, seeds=2),
    case(TOO_NOISY, by_bits, SAME_TOTAL, SAME_WIDTH, says=FEW, seeds=2),
    case(TOO_NOISY, by_bits, FORGOTTEN, says="N/B is below τ nowhere for certain", has_table=False),
    case(TOO_NOISY, by_bits, LONGER, says="no pair", has_table=False),
    case(TOO_NOISY, by_bits, BITS, says="fewer than 3 arms", has_table=False),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
