"""What a bootstrap over seeds draws: within a size, or seeds as clusters over all sizes."""

import numpy as np
import pytest

from moefacts.analysis.scaling_law import Point, fit_power_law
from moefacts.analysis.seed_scatter import seed_moves

SIZES = np.array([256, 512, 1024, 2048, 4096])
EFFECTS = np.array([-0.1, 0.3, 0.1])  # of three seeds, in logs
SEEDS = (7, 3, 5)


def moves(logs, seeds, num_replicates=20_000, residuals=None):
    random = np.random.default_rng(0)
    left = np.zeros(len(logs)) if residuals is None else np.array(residuals)
    return seed_moves([np.array(one, float) for one in logs], seeds, left, num_replicates, random)


def law(seeds_of, effects_of=lambda size: EFFECTS):
    points = [
        Point(size, tuple(size**0.8 * np.exp(effects_of(size))), (0.0,) * len(effects_of(size)), seeds_of(size))
        for size in SIZES
    ]
    return fit_power_law(points, 2000)


def test_a_seed_that_is_early_at_every_size_moves_the_prefactor_and_not_the_exponent_if_it_is_shared():
    shared = law(lambda size: SEEDS)
    assert shared.b_interval == pytest.approx((0.8, 0.8))
    assert shared.a_interval[1] > 1.2 * shared.a_interval[0]
    own = law(lambda size: tuple(int(100 * size) + n for n in range(3)))
    assert own.b_interval[1] - own.b_interval[0] > 0.1
    assert (own.a, own.b) == (shared.a, shared.b)
    unknown = law(lambda size: ())
    assert unknown.b_interval == own.b_interval


def test_clusters_are_named_by_their_seed_and_not_by_their_place():
    orders = {size: np.roll(np.arange(3), n) for n, size in enumerate(SIZES)}
    mixed = law(lambda size: tuple(np.array(SEEDS)[orders[size]]), lambda size: EFFECTS[orders[size]])
    assert mixed.b_interval == pytest.approx((0.8, 0.8))


def test_means_scatter_as_means_of_their_seeds():
    found = moves([EFFECTS, 2 * EFFECTS], [SEEDS, SEEDS])
    expected = EFFECTS.std(ddof=1) / np.sqrt(3)
    assert found.std(axis=0) == pytest.approx([expected, 2 * expected], rel=0.03)
    assert np.corrcoef(found.T)[0, 1] == pytest.approx(1.0)


def test_independent_sizes_draw_from_their_own_seeds():
    found = moves([EFFECTS, 10 * EFFECTS], [(1, 2, 3), (4, 5, 6)])
    expected = EFFECTS.std(ddof=1) / np.sqrt(3)
    assert found.std(axis=0) == pytest.approx([expected, 10 * expected], rel=0.03)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.03


@pytest.mark.parametrize("seeds", [[(1, 2, 3), (4, 5, 6), (7,)], [SEEDS, SEEDS, (7,)]], ids=["independent", "shared"])
def test_a_size_with_one_seed_scatters_like_one_seed_of_the_others(seeds):
    found = moves([EFFECTS, EFFECTS, [1.0]], seeds)
    assert found[:, 2].std() == pytest.approx(EFFECTS.std(ddof=1), rel=0.03)


def test_a_shared_seed_that_one_size_lacks_keeps_its_deviation_there():
    found = moves([EFFECTS, EFFECTS, [1.0]], [SEEDS, SEEDS, (7,)])
    assert np.corrcoef(found[:, 0], found[:, 2])[0, 1] == pytest.approx(1 / np.sqrt(3), abs=0.03)  # one draw in three


def test_with_one_seed_at_every_size_the_residuals_about_the_law_stand_in():
    residuals = [0.1, -0.2, 0.15, -0.05]
    found = moves([[1.0], [2.0], [3.0], [4.0]], [(0,)] * 4, residuals=residuals)
    assert found.std(axis=0) == pytest.approx([np.std(residuals) * np.sqrt(2)] * 4, rel=0.05)
    assert (moves([[1.0], [2.0], [3.0]], [()] * 3) == 0).all()
