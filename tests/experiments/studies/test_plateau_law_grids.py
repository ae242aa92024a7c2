"""The grids of the plateau law: sizes, seeds, every rate at every size, and what the choice of a rate sees."""

import numpy as np
import pytest

from moefacts.config.presets import compose
from moefacts.experiments.engine.study import BestOf
from moefacts.experiments.studies.plateau_law import MIXTURES_STUDY, RATES_STUDY, STUDY, grids, published
from moefacts.experiments.studies.plateau_law.points import bits_of_facts
from moefacts.experiments.studies.plateau_law.units import rate_sum
from moefacts.models.architecture import parameter_counts
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.tokenizer import build_tokenizer
from moefacts.training.optimizer import learning_rate

SCALES = ("laptop", "workstation", "paper")
SIX_SIZES = [512 * 2**k for k in range(6)]


def config_of(run, scale="workstation", *more):
    return compose([f"scale={scale}", *run.overrides, *more])


def by_size(runs, of):
    found = {}
    for run in runs:
        found.setdefault(run.labels["size"], []).append(of(run))
    return dict(sorted(found.items()))


def part(scale, name):
    return [run for run in RATES_STUDY.grids[scale] if run.labels["part"] == name]


def test_the_workstations_law_has_six_sizes_three_seeds_each_and_one_rate():
    configs = [config_of(run) for run in STUDY.grids["workstation"]]
    seeds = by_size(STUDY.grids["workstation"], lambda run: config_of(run).seed)
    assert list(seeds) == SIX_SIZES
    assert [len(set(of_size)) for of_size in seeds.values()] == [3] * 6
    assert len({seed for of_size in seeds.values() for seed in of_size}) == 18
    assert {config.training.learning_rate for config in configs} == {1e-3}
    assert {(config.training.batch_size, config.training.schedule) for config in configs} == {(32, "constant")}
    assert {config.population.pools.first_names for config in configs} == {200}


@pytest.mark.parametrize("scale", ["laptop", "workstation"])
def test_the_product_of_rate_and_weight_decay_is_the_studys(scale):
    for run in STUDY.grids[scale]:
        training = config_of(run, scale).training
        assert training.learning_rate * training.weight_decay == pytest.approx(4e-4 * 0.1, rel=1e-3)


def test_facts_per_parameter_span_the_upper_range_of_the_study():
    config = compose(["scale=workstation"])
    population = build_population(config.population, 0)
    vocabulary = build_tokenizer(config.tokenizer, population.pools, population.templates).vocab_size
    total = parameter_counts(config.model, vocabulary).total
    assert 2.0e6 < total < 2.2e6
    low, high = (bits_of_facts(size, population.no_knowledge_baseline) / total for size in (512, 16384))
    assert 0.005 < low < 0.015
    assert 0.3 < high < 0.34


@pytest.mark.parametrize("scale", SCALES)
def test_every_rate_is_tried_once_at_every_size_with_one_seed_that_no_run_of_the_law_has(scale):
    choice, best = part(scale, grids.CHOICE), part(scale, grids.BEST)
    rates = by_size(choice, lambda run: config_of(run, scale).training.learning_rate)
    tried = sorted(float(rate) for rate in grids.RATES[scale])
    assert len(tried) >= 3
    assert list(rates) == list(by_size(best, lambda run: run))
    assert all(sorted(of_size) == tried for of_size in rates.values())
    for size, runs in by_size(choice, lambda run: run).items():
        configs = [config_of(run, scale) for run in runs]
        assert len({(c.seed, c.training.steps, c.training.weight_decay) for c in configs}) == 1
        assert {c.training.stop_after_plateau for c in configs} == {None}
        of_law = [config_of(run, scale).seed for run in best if run.labels["size"] == size]
        assert configs[0].seed not in of_law
        assert len(set(of_law)) == len(of_law) >= 3


@pytest.mark.parametrize("scale", SCALES)
def test_a_run_takes_its_rate_from_the_runs_of_its_own_size_which_are_in_the_grid(scale):
    choice = part(scale, grids.CHOICE)
    for run in part(scale, grids.BEST):
        assert list(run.needs) == [one for one in choice if one.labels["size"] == run.labels["size"]]
        assert run.settings_from == BestOf(("training.learning_rate",))
        assert [config_of(one, scale).training.learning_rate for one in run.needs] == [
            one.labels["learning_rate"] for one in run.needs
        ]


@pytest.mark.parametrize("scale", SCALES)
def test_the_law_at_the_fixed_rate_is_that_of_plateau_law_and_so_is_a_best_run_of_that_rate(scale):
    fixed = [config_of(run, scale) for run in STUDY.grids[scale]]
    assert [config_of(run, scale) for run in part(scale, grids.FIXED)] == fixed
    for run in part(scale, grids.BEST):
        assert config_of(run, scale, grids.fixed_rate(scale)) in fixed


@pytest.mark.parametrize("scale", SCALES)
def test_evaluations_are_dense_enough_for_the_likely_plateau_and_runs_end_after_it(scale):
    for size, at in grids.SIZES[scale].items():
        assert at.interval <= 0.14 * at.likely, size
        assert at.limit is None or at.limit > 2 * at.likely
        assert at.sweep is None or at.sweep > 1.3 * at.likely


@pytest.mark.parametrize("scale", SCALES)
def test_every_run_of_the_law_measures_knowledge_often_enough_and_no_run_that_chooses_does(scale):
    """Also while evaluations are rare, and until some steps after the plateau's end, where it may still be below 5%.

    Only on the plateau is the control loss interpolated, and at the smallest sizes knowledge reaches 5% before it.
    """
    mixtures = MIXTURES_STUDY.grids.get(scale, ())
    for run in (*STUDY.grids[scale], *part(scale, grids.FIXED), *part(scale, grids.BEST), *mixtures):
        config, likely = config_of(run, scale), grids.SIZES[scale][run.labels["size"]].likely
        evaluation = config.evaluation
        intervals = (evaluation.interval_control, evaluation.interval_early)
        assert max(intervals) % min(intervals) == 0  # of rare evaluations, at least every second one has it
        assert evaluation.interval_control <= (0.12 if config.population.size < 2048 else 0.24) * likely
        assert scale != "workstation" or evaluation.interval_early <= 0.14 * likely
        assert config.training.stop_after_plateau >= 0.18 * likely
        assert run.expected_steps == likely + config.training.stop_after_plateau
    assert {config_of(run, scale).evaluation.interval_control for run in part(scale, grids.CHOICE)} == {None}


def test_mixtures_are_compared_with_the_dense_runs_of_the_law_on_the_same_people():
    law = [config_of(run) for run in STUDY.grids["workstation"]]
    runs = MIXTURES_STUDY.grids["workstation"]
    arms = {}
    for run in runs:
        config = config_of(run)
        arms.setdefault(run.labels["arm"], {})[config.population.size, config.seed] = config
    assert len({frozenset(of_arm) for of_arm in arms.values()}) == 1
    assert len(arms) == 5
    assert all(config in law for config in arms["dense"].values())
    rates = {(c.training.learning_rate, c.training.weight_decay) for of in arms.values() for c in of.values()}
    assert rates == {(1e-3, 0.04)}


def test_the_sum_of_learning_rates_is_that_of_the_optimizers_schedule():
    paper = compose(["scale=paper"]).training
    rates = np.cumsum([learning_rate(step, paper) for step in range(paper.steps)])
    shape = (paper.schedule, paper.learning_rate, paper.final_learning_rate, paper.steps)
    for steps in (1, 375, 6030, 10855, paper.steps):
        assert rate_sum(steps, *shape) == pytest.approx(rates[steps - 1], rel=1e-3)
    assert rate_sum(200, "constant", 1e-3, 1e-7, 900) == pytest.approx(0.2)
    study = rate_sum(published.steps(np.array([64000.0])), *shape)
    assert published.rate_sums(np.array([64000.0])) == pytest.approx(study)
