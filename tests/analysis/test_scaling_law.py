import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from moefacts.analysis.scaling_law import Point, _lines, fit_power_law

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
    """Here d ln y / d ln x = 0.5 + 0.1 log2 x, which grows by 0.1 with every doubling of x."""
    curve = [Point(x, (x ** (0.5 + 0.05 * np.log2(x)),) * 2, (0.0, 0.0)) for x in SIZES]
    law = fit_power_law(curve, num_replicates=50)
    assert (law.bend, *law.bend_interval) == pytest.approx((0.1, 0.1, 0.1))
    straight = fit_power_law(points(0.5, 0.8, scatter=0.05))
    assert straight.bend_interval[0] < 0 < straight.bend_interval[1]


def test_one_seed_is_enough_for_a_fit_and_two_sizes_are_not():
    assert fit_power_law(points(0.5, 0.8, seeds=1)).b == pytest.approx(0.8)
    with pytest.raises(ValueError, match="at least three sizes"):
        fit_power_law(points(0.5, 0.8)[:2])


def test_three_sizes_are_enough():
    assert fit_power_law(points(0.5, 0.8)[:3], num_replicates=50).b == pytest.approx(0.8)


def test_the_intervals_are_the_middle_95_percent_of_the_replicates():
    law = fit_power_law(points(0.5, 0.8, scatter=0.1), num_replicates=2000)
    assert law.replicates.shape == (2000, 2)
    assert law.a_interval == pytest.approx(np.exp(np.percentile(law.replicates[:, 0], [2.5, 97.5])))
    assert law.b_interval == pytest.approx(np.percentile(law.replicates[:, 1], [2.5, 97.5]))


def test_the_interval_of_the_law_at_an_x_is_that_of_the_replicates_lines_at_x():
    law = fit_power_law(points(0.5, 0.8, scatter=0.1), num_replicates=500)
    x = np.array([300.0, 1024.0, 9000.0])
    values = np.stack([np.exp(log_a) * x**b for log_a, b in law.replicates])
    low, high = law.interval_at(x)
    assert low == pytest.approx(np.exp(np.percentile(np.log(values), 2.5, axis=0)))
    assert high == pytest.approx(np.exp(np.percentile(np.log(values), 97.5, axis=0)))
    assert (low < law.at(x)).all()
    assert (law.at(x) < high).all()


def test_lines_through_several_rows_are_those_through_each_alone():
    random = np.random.default_rng(0)
    log_x, log_y = np.log(SIZES), random.standard_normal((7, 5)) + np.arange(7)[:, None]
    slopes, intercepts, shares = _lines(log_x, log_y)
    for row, *found in zip(log_y, slopes, intercepts, shares, strict=True):
        expected = stats.linregress(log_x, row)
        assert found == pytest.approx([expected.slope, expected.intercept, expected.rvalue**2])


def test_values_that_are_all_equal_are_not_explained_by_a_line():
    slopes, intercepts, shares = _lines(np.log(SIZES), np.array([[2.0] * 5, np.log(SIZES)]))
    assert [*slopes, *intercepts, *shares] == pytest.approx([0, 1, 2, 0, 0, 1])


def test_the_scatter_of_replicates_is_that_of_means_over_seeds():
    """Each size has two seeds, one log unit from their mean. Inflated by sqrt(2), their mean has a deviation of 1."""
    made = [Point(x, (np.exp(-1.0), np.exp(1.0)), (0.0, 0.0)) for x in SIZES]
    log_x = np.log(SIZES)
    law = fit_power_law(made, num_replicates=20_000)
    expected = 1.0 / np.sqrt(((log_x - log_x.mean()) ** 2).sum())  # the slope's, when points have a deviation of 1
    assert law.replicates[:, 1].std() == pytest.approx(expected, rel=0.03)


def test_the_noise_of_evaluations_is_taken_relative_to_the_value():
    made = [Point(x, (float(x),), (0.1 * x,)) for x in SIZES]
    log_x = np.log(SIZES)
    law = fit_power_law(made, num_replicates=20_000)
    expected = 0.1 / np.sqrt(((log_x - log_x.mean()) ** 2).sum())
    assert law.replicates[:, 1].std() == pytest.approx(expected, rel=0.03)


def test_one_seed_at_one_size_borrows_the_scatter_of_the_others():
    one, *others = points(0.5, 0.8, scatter=0.1)
    alone = [Point(one.x, one.values[:1], one.standard_errors[:1]), *others]
    assert fit_power_law(alone, num_replicates=500).b_interval[0] < fit_power_law(alone, num_replicates=500).b


def test_the_intervals_of_r_squared_and_of_the_bend_come_from_the_replicates_alone():
    bent = [Point(x, (y * 0.9, y / 0.9), (0.0, 0.0)) for x in SIZES for y in [x ** (0.5 + 0.05 * np.log2(x))]]
    law = fit_power_law(bent, num_replicates=500)
    assert law.r_squared_interval[0] < law.r_squared_interval[1] <= 1
    assert law.r_squared_interval[0] < law.r_squared
    assert law.bend == pytest.approx(0.1)
    assert law.bend_interval[0] < 0.1 < law.bend_interval[1]


def test_seeds_far_above_the_others_pull_replicates_up_and_not_down():
    """Each size has two equal seeds and one far above, so means of three draws from their deviations skew upwards."""
    made = [Point(x, (x, x, x * np.exp(1.5)), (0.0,) * 3) for x in SIZES]
    law = fit_power_law(made, num_replicates=20_000)
    middle = law.replicates @ [1.0, np.log(SIZES).mean()]  # each replicate's mean over its five points
    deviation = np.std([0.0, 0.0, 1.5], ddof=1) / np.sqrt(3 * 5)
    assert middle.std() == pytest.approx(deviation, rel=0.03)
    assert stats.skew(middle) > 0.1


def test_a_size_with_one_seed_adds_no_deviation_of_its_own_to_those_that_are_drawn():
    made = [Point(x, (x * np.exp(-1.0), x * np.exp(1.0)), (0.0, 0.0)) for x in SIZES[1:3]]
    made += [Point(x, (float(x),), (0.0,)) for x in SIZES[3:]]
    law = fit_power_law(made, num_replicates=20_000)
    last = law.replicates @ [1.0, np.log(SIZES[-1])]
    log_x = np.log(SIZES[1:])
    centred = log_x - log_x.mean()
    leverage = 1 / 4 + centred[-1] * centred / (centred @ centred)  # of each point on the line at the last size
    variance = 2.0 * np.array([0.5, 0.5, 1.0, 1.0])  # of a mean of two draws, or of one draw, from ±sqrt(2)
    assert last.var() == pytest.approx(leverage**2 @ variance, rel=0.05)


def test_a_seed_far_above_the_others_bends_replicates_down_and_not_up():
    """One seed of ten lies far above; the middle size has one seed, so it is the one that a draw of it moves most."""
    many = (1.0,) * 9 + (np.exp(1.0),)
    made = [Point(64.0, many, (0.0,) * 10), Point(128.0, (1.0,), (0.0,)), Point(256.0, many, (0.0,) * 10)]
    law = fit_power_law(made)
    low, high = law.bend_interval
    assert law.bend - low > 2 * (high - law.bend) > 0
