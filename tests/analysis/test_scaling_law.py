import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moefacts.analysis.scaling_law import Point, fit_power_law

SIZES = (256, 512, 1024, 2048, 4096)


def points(a, b, scatter=0.0, noise=0.0, seeds=3, random=None):
    random = random or np.random.default_rng(0)
    made = []
    for size in SIZES:
        true = a * size**b * np.exp(scatter * random.standard_normal(seeds))
        made.append(Point(size, tuple(true * (1 + noise * random.standard_normal(seeds))), tuple(noise * true)))
    return made


@settings(max_examples=25)
@given(a=st.floats(0.05, 20), b=st.floats(0.2, 1.5))
def test_exact_points_give_their_law(a, b):
    law = fit_power_law(points(a, b), num_replicates=50)
    assert (law.a, law.b, law.r_squared) == pytest.approx((a, b, 1.0))
    assert law.b_interval == pytest.approx((b, b))
    assert law.residuals == pytest.approx([0] * 5, abs=1e-9)
    assert law.at(10_000) == pytest.approx(a * 10_000**b)


@pytest.mark.parametrize(("scatter", "noise"), [(0.06, 0.0), (0.0, 0.06), (0.05, 0.05)])
def test_intervals_cover_the_true_exponent_about_as_often_as_they_say(scatter, noise):
    random = np.random.default_rng(3)
    laws = [fit_power_law(points(0.5, 0.8, scatter, noise, random=random), num_replicates=400) for _ in range(150)]
    covered_b = np.mean([law.b_interval[0] <= 0.8 <= law.b_interval[1] for law in laws])
    covered_a = np.mean([law.a_interval[0] <= 0.5 <= law.a_interval[1] for law in laws])
    assert 0.88 <= covered_b <= 1.0
    assert 0.88 <= covered_a <= 1.0


def test_evaluation_noise_alone_widens_the_interval():
    exact = points(0.5, 0.8)
    noisy = [Point(p.x, p.values, tuple(0.05 * v for v in p.values)) for p in exact]
    low, high = fit_power_law(noisy).b_interval
    assert low < 0.8 < high


def test_the_same_points_give_the_same_digits():
    made = points(0.5, 0.8, 0.1)
    assert fit_power_law(made).b_interval == fit_power_law(made).b_interval


def test_a_bend_shows_in_r_squared_and_residuals():
    bent = [Point(x, (10 + 0.5 * x**0.8,), (0.0,)) for x in (1, 4, 16, 64, 256)]
    law = fit_power_law(bent)
    assert law.r_squared < 0.9
    assert law.residuals[0] > 0 > law.residuals[2]


def test_the_change_of_the_exponent_with_every_doubling_is_found():
    """d ln y / d ln x = 0.5 + 0.1 log2 x: one tenth more with every doubling."""
    curve = [Point(x, (x ** (0.5 + 0.05 * np.log2(x)),) * 2, (0.0, 0.0)) for x in SIZES]
    law = fit_power_law(curve, num_replicates=50)
    assert (law.bend, *law.bend_interval) == pytest.approx((0.1, 0.1, 0.1))
    straight = fit_power_law(points(0.5, 0.8, scatter=0.05))
    assert straight.bend_interval[0] < 0 < straight.bend_interval[1]


def test_one_seed_is_enough_for_a_fit_and_two_sizes_are_not():
    assert fit_power_law(points(0.5, 0.8, seeds=1)).b == pytest.approx(0.8)
    with pytest.raises(ValueError, match="at least three sizes"):
        fit_power_law(points(0.5, 0.8)[:2])
