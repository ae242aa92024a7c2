"""The rules of the power-law study that are not an interval above or below a bound, in words and in code."""

import math
import re

import pytest

from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import power_law

NUMBER = r"([\d.]*\d)"
EPSILON = 1e-6
NEVER = (300.0, math.inf)  # not reached in 300 steps
SHORTEST, FALLS, GROWS = power_law.STUDY.claims["paper"][1:]


class Exponents:
    """Evidence with given bounds of plateau ends (size -> exponent -> bounds) or best exponents."""

    def __init__(self, ends=None, best=None):
        self._ends, self._best = ends or {}, best or {}
        self.sizes = sorted(self._ends or {size for size, _ in self._best})
        self.budgets = sorted({budget for _, budget in self._best})
        self.exponents = sorted({exponent for by in self._ends.values() for exponent in by})

    def end_bounds(self, size, exponent):
        return self._ends[size].get(exponent)

    def good_by_loss(self, size, budget):
        return self._best.get((size, budget))


def shortest(*ratios, **also):
    """The verdict on a best mild plateau of ``ratios`` times the best other one at each size."""
    first, second = power_law.MILD
    usual = {0.0: (100.0, 100.0), 0.2: (100.0, 100.0), first: NEVER}
    ends = {
        1000 * (number + 1): usual | {second: (100 * ratio, 100 * ratio)} | also.get("also", {})
        for number, ratio in enumerate(ratios)
    }
    return SHORTEST.decide(Exponents(ends))


def test_the_numbers_of_the_rule_of_the_shortest_plateau():
    mild = tuple(float(one) for one in re.search(rf"α {NUMBER} and {NUMBER}", SHORTEST.rule).groups())
    assert mild == power_law.MILD
    assert re.search(rf"α {mild[0]}–{mild[1]}", SHORTEST.text)
    assert float(re.search(rf"more than {NUMBER}% earlier", SHORTEST.rule)[1]) == 100 * power_law.MARGIN
    assert int(re.search(rf"fewer than {NUMBER} sizes", SHORTEST.rule)[1]) == power_law.SIZES_NEEDED == 2


def test_the_shortest_plateau_is_mild_if_it_is_earlier_at_every_size_and_not_if_it_is_later_at_one():
    margin = power_law.MARGIN
    earlier, later = 1 - margin - EPSILON, 1 + margin + EPSILON
    assert shortest(earlier, earlier).answer == HOLDS
    assert shortest(earlier, 1 - margin + EPSILON).answer == shortest(1.0, 1 + margin - EPSILON).answer == CANNOT_TELL
    assert shortest(earlier, later).answer == DOES_NOT_HOLD
    assert shortest(earlier).answer == CANNOT_TELL  # one size


def test_an_end_that_was_not_reached_is_later_than_the_last_step():
    mild = {power_law.MILD[1]: NEVER}
    assert shortest(1.0, 1.0, also={0.0: NEVER, 0.2: NEVER}).answer == HOLDS  # 100 against more than 300
    assert shortest(0.5, 0.5, also=mild).answer == DOES_NOT_HOLD
    assert shortest(0.5, 0.5, also=mild | {0.0: (310, 310), 0.2: (310, 310)}).answer == CANNOT_TELL
    assert shortest(1.0, 1.0, also=dict.fromkeys((0.0, 0.2, *power_law.MILD), NEVER)).answer == CANNOT_TELL


def test_an_end_that_cannot_be_determined_may_be_anywhere():
    somewhere = (0.0, math.inf)
    assert shortest(0.5, 0.5, also={0.2: somewhere}).answer == CANNOT_TELL
    assert shortest(0.5, 0.5, also={power_law.MILD[0]: somewhere}).answer == HOLDS  # the other mild one is early enough
    assert shortest(2.0, 2.0, also={power_law.MILD[0]: somewhere}).answer == CANNOT_TELL


def test_the_verdict_on_the_shortest_plateau_names_the_ratio_at_each_size():
    assert shortest(0.8, 0.5).here == "1,000: ×0.80, 2,000: ×0.50"
    assert shortest(0.8).here == "fewer than 2 sizes have these ends: 1,000: ×0.80"
    assert shortest(0.5, 0.5, also={power_law.MILD[1]: NEVER}).here == "1,000: ×3.00 or more, 2,000: ×3.00 or more"
    assert shortest(1.0, 1.0, also={0.0: NEVER, 0.2: NEVER}).here == "1,000: ×0.00 to ×0.33, 2,000: ×0.00 to ×0.33"
    first = {0.0: (1.0, 1.0)}
    for some in (first, dict.fromkeys(power_law.MILD, (1.0, 1.0)), first | {power_law.MILD[0]: (1.0, 1.0)}):
        lacks = SHORTEST.decide(Exponents({1000: some, 2000: some}))
        assert (lacks.answer, lacks.here) == (CANNOT_TELL, "fewer than 2 sizes have these ends: none")


@pytest.mark.parametrize(("claim", "is_at_budgets", "falls"), [(FALLS, True, True), (GROWS, False, False)])
def test_the_rules_of_the_best_exponent(claim, is_at_budgets, falls):
    assert f"never {'rises' if falls else 'falls'}" in claim.rule
    assert f"{'falls' if falls else 'rises'} at least once" in claim.rule

    def decide(*best, other=()):
        """The answer for the best exponents at one size or budget, and those at another."""
        found = {}
        for place, chain in ((1, best), (2, other)):
            for n, one in enumerate(chain, 1):
                found[(place, n) if is_at_budgets else (n, place)] = (one, one) if isinstance(one, float) else one
        return claim.decide(Exponents(best=found)).answer

    down, up = ((0.8, 0.6, 0.6), (0.6, 0.6, 0.8)) if falls else ((0.6, 0.6, 0.8), (0.8, 0.6, 0.6))
    assert decide(*down) == HOLDS
    assert decide(*up) == decide(*down, other=up) == DOES_NOT_HOLD
    assert decide(0.6, 0.6) == decide(0.6) == CANNOT_TELL
    assert decide(0.6, 0.6, other=down) == HOLDS
    assert decide(0.6, None, other=(0.6, None)) == CANNOT_TELL
    assert decide((0.4, 0.6), (0.6, 0.8)) == decide((0.6, 0.8), (0.4, 0.6)) == CANNOT_TELL  # the ranges overlap


def test_the_verdicts_on_the_best_exponents_list_them():
    chains = {
        "1,000 people": [(500, (0.8, 0.8)), (1000, (0.4, 0.6))],
        "2,000 people": [(500, None), (1000, (0.6, 0.6))],
    }
    falls, rises = power_law._monotone(chains, -1), power_law._monotone(chains, 1)
    assert (falls.answer, falls.here) == (HOLDS, "1,000 people: 500 → 0.8, 1,000 → 0.4–0.6")
    assert (rises.answer, rises.here) == (DOES_NOT_HOLD, falls.here)
    both = {"a": [(1, (0.2, 0.2)), (2, (0.2, 0.2))], "b": [(1, (0.4, 0.4)), (2, (0.4, 0.4))]}
    same = power_law._monotone(both, 1)
    said = "a: 1 → 0.2, 2 → 0.2; b: 1 → 0.4, 2 → 0.4 (the grid is too coarse)"
    assert (same.answer, same.here) == (CANNOT_TELL, said)
    nothing = power_law._monotone({"a": [(1, (0.2, 0.2)), (2, None)]}, 1)
    said = "there are no two budgets or sizes at which some α has left its plateau"
    assert (nothing.answer, nothing.here) == (CANNOT_TELL, said)
