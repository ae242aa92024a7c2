"""Three laws, fitted to one number per run and compared by AICc."""

import numpy as np
import pytest
from scipy import optimize

from moefacts.analysis.law_comparison import LINEAR, OFFSET_POWER, POWER, compare_laws

SIZES = np.repeat([512, 1024, 2048, 4096, 8192, 16384], 3).astype(float)


def scattered(law, scatter=0.03):
    return law(SIZES) * np.exp(scatter * np.random.default_rng(0).standard_normal(len(SIZES)))


def test_aicc_of_a_power_law_is_that_computed_by_hand():
    """Seven numbers at N = 1, e, e²; the line through their logs 0, 0, 1, 1, 1, 2, 2 is worked out on paper."""
    sizes, logs = np.exp([0, 0, 1, 1, 1, 2, 2]), np.array([-0.1, 0.1, 0.9, 1.0, 1.1, 1.9, 2.1])
    law = compare_laws(sizes, np.exp(logs))[POWER]
    # Means are 1 and 1; the slope is the sum of (x - 1)(y - 1) = 1.1 + 0.9 + 0.9 + 1.1 over that of (x - 1)² = 4.
    assert (law.t0, law.c, law.b) == pytest.approx((0.0, 1.0, 1.0))
    # Residuals are ±0.1 six times and 0 once; n = 7, and k = 3: two parameters and the scatter.
    assert law.squares == pytest.approx(0.06)
    assert law.aicc == pytest.approx(7 * np.log(0.06 / 7) + 6 + 24 / 3)


def test_an_offset_and_an_exponent_cost_one_parameter_more():
    laws = compare_laws(SIZES, scattered(lambda n: 0.5 * n**0.8))
    n = len(SIZES)
    for formula, k in ((POWER, 3), (LINEAR, 3), (OFFSET_POWER, 4)):
        law = laws[formula]
        expected = n * np.log(law.squares / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        assert law.aicc == pytest.approx(expected)
    assert laws[POWER].aicc < laws[OFFSET_POWER].aicc < laws[LINEAR].aicc


@pytest.mark.parametrize(
    ("law", "best"),
    [
        (lambda n: 0.5 * n**0.8, POWER),
        (lambda n: 100 + 0.2 * n, LINEAR),
        (lambda n: 100 + 0.015 * n**1.3, OFFSET_POWER),
    ],
)
def test_the_law_behind_the_numbers_is_found(law, best):
    laws = compare_laws(SIZES, scattered(law))
    assert min(laws, key=lambda formula: laws[formula].aicc) == best
    exact = compare_laws(SIZES, law(SIZES))[best]
    assert exact.t0 + exact.c * SIZES**exact.b == pytest.approx(law(SIZES), rel=1e-6)
    fitted = laws[best]
    assert ((np.log((fitted.t0 + fitted.c * SIZES**fitted.b) / scattered(law))) ** 2).sum() == pytest.approx(
        fitted.squares
    )


@pytest.mark.parametrize("formula", [LINEAR, OFFSET_POWER])
def test_no_other_parameters_fit_better(formula):
    values = scattered(lambda n: 80 + 0.3 * n**0.95, 0.1)
    law = compare_laws(SIZES, values)[formula]

    def squares(t0, log_c, b):
        return ((np.log(t0 + np.exp(log_c) * SIZES**b) - np.log(values)) ** 2).sum()

    def objective(p):
        return squares(abs(p[0]), p[1], p[2] if formula == OFFSET_POWER else 1.0)

    start = [50.0, -1.0, 0.9][: 3 if formula == OFFSET_POWER else 2]
    found = optimize.minimize(objective, start, method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-12})
    assert law.squares == pytest.approx(found.fun, rel=1e-3)


def test_an_offset_is_never_negative_and_a_power_law_is_then_as_good():
    """These numbers bend the other way: without a bound, T0 would be below 0."""
    laws = compare_laws(SIZES, scattered(lambda n: 0.5 * n - 100))
    assert min(law.t0 for law in laws.values()) >= 0
    assert laws[OFFSET_POWER].squares == pytest.approx(laws[POWER].squares, rel=1e-6)


def test_a_perfect_fit_still_has_a_finite_aicc():
    laws = compare_laws(SIZES, SIZES)
    assert all(np.isfinite(law.aicc) for law in laws.values())
    assert laws[POWER].aicc < laws[OFFSET_POWER].aicc


def test_too_few_runs_or_sizes_are_not_compared():
    assert compare_laws([1, 2, 4, 8, 16], [1, 2, 4, 8, 16]) is None
    assert compare_laws([1, 2, 4, 8, 16, 32], [1, 2, 4, 8, 16, 32]) is not None
    assert compare_laws([1, 2] * 5, [1, 2] * 5) is None
