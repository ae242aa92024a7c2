"""Runs of different population sizes share nothing; runs that are compared share their seed."""

import pytest

from moefacts.config.presets import compose
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.studies.catalog import STUDIES
from tests.experiments.studies.composing import parsed


def test_seeds_of_one_size_are_distinct_and_belong_to_no_other_size():
    sizes = (64, 256, 512, 1024, 1500, 2048, 256_000)
    seeds = [seed for size in sizes for seed in seeds_for(size, 100)]
    assert len(set(seeds)) == 100 * len(sizes)
    assert max(seeds) < 2**31


def test_more_seeds_keep_the_first_ones():
    assert list(seeds_for(512, 5))[:3] == list(seeds_for(512, 3))


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in STUDIES for scale in STUDIES[name].grids])
def test_no_seed_of_a_study_is_used_for_two_population_sizes(name, scale):
    """Of the settings of a run, its last override counts; ``test_studies.py`` composes all of them."""
    usual = compose([f"scale={scale}"])
    sizes: dict[int, set[int]] = {}
    for run in STUDIES[name].grids[scale]:
        own = dict(parsed(one) for one in run.overrides if one.startswith(("seed=", "population.size=")))
        sizes.setdefault(own.get("seed", usual.seed), set()).add(own.get("population.size", usual.population.size))
    assert all(len(one) == 1 for one in sizes.values())
