"""Who was shown, how often and when, is what the batches of training say."""

import numpy as np
import pytest

from moefacts.synthetic_data.exposure import exposures
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import training_distribution, training_people, training_plan
from tests.conftest import tiny_config

KINDS = {
    "uniform": (),
    "power law": ("sampling.kind=power_law", "sampling.exponent=1"),
    "sequential": ("sampling.kind=sequential", "sampling.num_groups=3", "sampling.num_repeats=2"),
    "a part": ("population.cohorts={rare:{part_of:seen,start:8,stop:20}}", "sampling.cohort=rare"),
    "replay": ("population.cohorts={old:{part_of:seen,start:30,stop:40}}", "sampling.kind=replay", "sampling.cohort=new",
               "sampling.replay_cohort=old", "sampling.replay_weight=0.5"),
    "leaving": ("sampling.kind=leaving", "sampling.leaving_step=6", "sampling.num_leaving=12"),
    "adaptive": ("sampling.kind=adaptive", "sampling.initial_individuals=9"),
}  # fmt: skip


def prepared(name):
    config = tiny_config(*KINDS[name], "training.steps=30")
    population = build_population(config.population, seed=3)
    return population, training_distribution(config.sampling, population, 30)


@pytest.mark.parametrize("name", KINDS)
def test_counts_and_last_steps_are_those_of_a_loop_over_biographies(name):
    population, distribution = prepared(name)
    steps = [0, 1, 7, 30]
    active = (lambda step: 9 if step < 12 else 48) if name == "adaptive" else (lambda step: None)
    found = list(exposures(population, distribution, 4, steps, active))
    assert [exposure.step for exposure in found] == steps
    for exposure in found:
        times, last = {}, {}
        for step in range(exposure.step):
            for person in training_plan(population, step, 4, distribution, active(step)).individual_B.tolist():
                times[person], last[person] = times.get(person, 0) + 1, step
        people = [person for cohort in distribution.config.cohorts for person in population.cohort(cohort)]
        assert set(times) <= set(people)
        assert exposure.individual_P.tolist() == people
        assert exposure.times_shown_P.tolist() == [times.get(person, 0) for person in people]
        since = [exposure.step - 1 - last[person] if person in last else np.nan for person in people]
        assert np.array_equal(exposure.steps_since_shown_P, since, equal_nan=True)
    assert found[0].times_shown_P.sum() == 0
    assert np.isnan(found[0].steps_since_shown_P).all()
    assert 0 in found[1].steps_since_shown_P


@pytest.mark.parametrize("name", KINDS)
def test_the_people_of_a_batch_are_those_of_its_plan(name):
    population, distribution = prepared(name)
    for step in range(5):
        plan = training_plan(population, step, 16, distribution)
        assert np.array_equal(plan.individual_B, training_people(population, step, 16, distribution))
    assert np.array_equal(training_plan(population, 2, 16).individual_B, training_people(population, 2, 16))
