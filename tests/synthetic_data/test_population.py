import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moefacts.config.presets import compose
from moefacts.errors import UserError
from moefacts.synthetic_data.cohorts import COHORTS
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import TemplateSplits, build_population

GOLDEN_FINGERPRINT = "9641c4474b4b04b0b7ab5c60137559aace66f937472b57bbc4d7121760627dce"


def test_the_no_knowledge_baseline_of_the_full_pools_is_that_of_the_study():
    population = build_population(compose(["scale=paper", "population.size=100"]).population, seed=0)
    assert population.no_knowledge_baseline == pytest.approx(6.784, abs=5e-4)


def test_the_empirical_marginal_cross_entropy_equals_the_baseline():
    population = build_population(compose(["population.size=400000"]).population, seed=0)
    values = population.value_PA[: len(population.cohort("seen"))]
    for index, attribute in enumerate(ATTRIBUTES):
        num_values = len(population.pools.values(attribute))
        share = np.bincount(values[:, index], minlength=num_values) / len(values)
        entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
        bias = (num_values - 1) / (2 * len(values))  # of the plug-in estimate (Miller 1955)
        assert entropy + bias == pytest.approx(population.no_knowledge_baseline_A[index], abs=1e-3)


def test_attributes_are_independent_of_each_other():
    population = build_population(compose(["population.size=100000"]).population, seed=1)
    values = population.value_PA.astype(float)
    correlation = np.corrcoef(values.T) - np.eye(len(ATTRIBUTES))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(values))


def test_full_names_are_unique_even_when_every_name_is_taken():
    config = compose(["population.size=900", "population.unseen=80", "population.new=20"]).population
    config.pools.first_names = config.pools.middle_names = config.pools.last_names = 10
    population = build_population(config, seed=0)
    assert len({population.full_name(i) for i in range(len(population))}) == 1000


def test_more_people_than_names_is_refused():
    config = compose(["population.size=1000001"]).population
    with pytest.raises(UserError, match="population.size=1000001 .* needs .* names, but the pools make only 1000000"):
        build_population(config, seed=0)


def test_cohorts_are_disjoint_and_cover_everyone(population):
    people = [individual for cohort in COHORTS for individual in population.cohort(cohort)]
    assert people == list(range(len(population)))
    assert [population.cohort_of(population.cohort(c)[0]) for c in COHORTS] == list(COHORTS)


def test_a_person_depends_on_seed_and_number_alone_and_not_on_the_size_of_the_population():
    small = build_population(compose(["population.size=100"]).population, seed=5)
    large = build_population(compose(["population.size=5000"]).population, seed=5)
    assert np.array_equal(small.name_P3, large.name_P3[: len(small)])
    assert np.array_equal(small.value_PA, large.value_PA[: len(small)])
    assert np.array_equal(small.split_PA, large.split_PA[: len(small)])


def test_every_split_holds_out_5_and_trains_20_of_25():
    splits = TemplateSplits(25, 5)
    assert len(splits) == 53130
    both = np.sort(np.concatenate([splits.held_out_SH, splits.trained_SJ], axis=1), axis=1)
    assert (both == np.arange(25)).all()
    assert len(np.unique(splits.held_out_SH, axis=0)) == len(splits)


def test_every_template_is_held_out_equally_often():
    population = build_population(compose(["population.size=50000"]).population, seed=0)
    counts = np.bincount(population.splits.held_out_SH[population.split_PA].ravel(), minlength=25)
    expected = counts.sum() / 25
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_people_are_found_by_name(population):
    assert all(population.find(population.full_name(i)) == i for i in range(len(population)))
    assert population.find("Nobody Known Here") is None
    assert population.find("Ann") is None


def test_fingerprint_is_golden_and_the_same_in_another_process():
    code = (
        "from moefacts.config.presets import compose; from moefacts.synthetic_data.population import build_population;"
        "print(build_population(compose(['scale=paper', 'population.size=1000']).population, seed=0).fingerprint)"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == GOLDEN_FINGERPRINT


def test_fingerprint_changes_with_seed_and_size():
    configs = [("population.size=100", 0), ("population.size=100", 1), ("population.size=101", 0)]
    prints = {build_population(compose([size]).population, seed=seed).fingerprint for size, seed in configs}
    assert len(prints) == 3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_a_million_people_fit_in_400_megabytes():
    code = (
        "from moefacts.config.presets import compose;"
        "from moefacts.synthetic_data.population import build_population;"
        "build_population(compose(['scale=paper', 'population.size=1000000']).population, seed=0);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    peak_kib = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert peak_kib < 400_000
