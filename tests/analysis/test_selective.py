"""Risk-coverage measures equal their definitions, averaged over all orders of equal confidences."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moefacts.analysis.selective import RiskCoverage

ANSWERS = st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]), st.integers(0, 1)), min_size=1, max_size=5)
SPECIAL = {
    "all right": [(0.2, 1), (0.2, 1), (0.9, 1)],
    "all wrong": [(0.2, 0), (0.3, 0), (0.9, 0)],
    "all equal": [(0.5, 1), (0.5, 0), (0.5, 0), (0.5, 1)],
    "one": [(0.3, 1)],
    "worst order": [(0.9, 0), (0.8, 0), (0.2, 1), (0.1, 1)],
}


def orders(answers):
    """Every order by falling confidence, as lists of errors among the first 1, 2, … answers."""
    distinct = [
        order
        for order in itertools.permutations(answers)
        if all(one[0] >= other[0] for one, other in itertools.pairwise(order))
    ]
    return [np.cumsum([1 - right for _, right in order]) for order in distinct]


def curve_of(answers):
    return RiskCoverage.of(*map(np.array, zip(*answers, strict=True)))


def check(answers):
    curve, n = curve_of(answers), len(answers)
    given_k = np.arange(1, n + 1)
    every = orders(answers)
    assert curve.errors_K == pytest.approx(np.mean(every, axis=0))
    assert curve.risk_K == pytest.approx(np.mean([errors / given_k for errors in every], axis=0))
    assert curve.aurc == pytest.approx(np.mean([sum(errors / given_k) / n for errors in every]))
    assert curve.augrc == pytest.approx(np.mean([sum(errors) / n / n for errors in every]))
    wrong = sorted(1 - right for _, right in answers)
    best = sum(np.cumsum(wrong) / given_k) / n
    assert curve.excess_aurc == pytest.approx(curve.aurc - best)
    assert curve.excess_aurc >= -1e-12
    for risk in (0, 0.1, 0.5, 1):
        within = {
            bar: [right for confidence, right in answers if confidence >= bar]
            for bar in {confidence for confidence, _ in answers}
        }
        allowed = [bar for bar, some in within.items() if 1 - np.mean(some) <= risk + 1e-9]
        assert curve.threshold_at(risk) == (min(allowed) if allowed else None)
        assert curve.coverage_at(risk) == pytest.approx(max([len(within[bar]) for bar in allowed], default=0) / n)
    for coverage in (0.01, 0.5, 0.8, 1):
        k = next(k for k in given_k if k / n >= coverage - 1e-9)
        assert curve.risk_at(coverage) == pytest.approx(np.mean([errors[k - 1] / k for errors in every]))


@settings(max_examples=40, deadline=None)
@given(ANSWERS)
def test_measures_are_their_definitions_whatever_the_ties(answers):
    check(answers)


@pytest.mark.parametrize("answers", SPECIAL.values(), ids=SPECIAL)
def test_special_answers(answers):
    check(answers)


def test_numbers_of_a_small_case():
    curve = curve_of([(0.9, 1), (0.8, 0), (0.7, 1), (0.6, 0)])
    assert curve.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert curve.excess_aurc == pytest.approx(curve.aurc - (0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert curve.augrc == pytest.approx((0 + 1 + 1 + 2) / 16)
    assert (curve.coverage_at(0.01), curve.coverage_at(0.4)) == (0.25, 0.75)
    assert (curve.threshold_at(0.01), curve.threshold_at(0.4)) == (0.9, 0.7)


@settings(max_examples=15, deadline=None)
@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_the_table_does_not_matter(answers, random):
    shuffled = random.sample(answers, len(answers))
    assert curve_of(shuffled).errors_K == pytest.approx(curve_of(answers).errors_K)
