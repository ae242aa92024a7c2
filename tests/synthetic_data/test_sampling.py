import hashlib

import numpy as np
import pytest

from moefacts.errors import UserError
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.sampling import cohort_plan, evaluation_plan, training_distribution, training_plan
from tests.conftest import tiny_config


def held_out(population, plan):
    """Whether each sentence of a plan uses a template held out for its individual and attribute; (B, A)."""
    split_BA = population.split_PA[plan.individual_B[:, None], plan.attribute_BA]
    return (population.splits.held_out_SH[split_BA] == plan.template_BA[..., None]).any(axis=2)


def test_training_shows_neither_held_out_templates_nor_unseen_or_new_people(population):
    seen = population.cohort("seen")
    for step in range(200):
        plan = training_plan(population, step, 64)
        assert not held_out(population, plan).any()
        assert plan.individual_B.min() >= seen.start
        assert plan.individual_B.max() < seen.stop


def test_evaluation_shows_only_held_out_templates_and_its_own_cohort_equally_often(population):
    for cohort in ("seen", "unseen", "new"):
        people = population.cohort(cohort)
        plan = evaluation_plan(population, cohort, 3 * len(people))
        assert held_out(population, plan).all()
        assert np.bincount(plan.individual_B - people.start).tolist() == [3] * len(people)


def test_every_template_is_trained_on_with_someone(population):
    used = {(a, t) for s in range(100) for p in [training_plan(population, s, 64)]
            for a, t in zip(p.attribute_BA.ravel(), p.template_BA.ravel(), strict=True)}  # fmt: skip
    assert len(used) == 25 * len(ATTRIBUTES)


def test_a_batch_is_a_function_of_seed_and_step(population):
    first, again, later = (training_plan(population, step, 32) for step in (7, 7, 8))
    assert np.array_equal(first.individual_B, again.individual_B)
    assert np.array_equal(first.template_BA, again.template_BA)
    assert not np.array_equal(first.individual_B, later.individual_B)


def test_order_and_individuals_are_uniform(population):
    plans = [training_plan(population, step, 128) for step in range(100)]
    people = np.bincount(np.concatenate([plan.individual_B for plan in plans]), minlength=48)
    first_attribute = np.bincount(np.concatenate([plan.attribute_BA[:, 0] for plan in plans]), minlength=6)
    for counts, limit in ((people, 90.0), (first_attribute, 20.5)):  # 99.9% quantiles with 47 and 5 degrees
        counts = counts[counts > 0]
        expected = counts.sum() / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < limit
    assert len(people) == 48


def test_biographies_are_not_repeated(population):
    plans = [training_plan(population, step, 128) for step in range(20)]
    rows = {(i, *a, *t) for p in plans for i, a, t in zip(p.individual_B, map(tuple, p.attribute_BA), map(tuple, p.template_BA), strict=True)}  # fmt: skip
    assert len(rows) == 20 * 128


def distribution(population, *overrides):
    config = tiny_config(*(f"sampling.{override}" for override in overrides))
    return training_distribution(config.sampling, population, config.training.steps)


def test_uniform_batches_and_evaluations_are_those_of_the_first_release(population):
    """Golden: runs of 0.1.0 can be repeated bit for bit."""
    uniform = distribution(population)
    plan = training_plan(population, 7, 6, uniform)
    assert plan.individual_B.tolist() == [47, 30, 10, 30, 27, 14]
    assert plan.attribute_BA[:2].tolist() == [[4, 0, 3, 1, 2, 5], [2, 3, 5, 1, 4, 0]]
    assert plan.template_BA[:2].tolist() == [[7, 11, 18, 21, 15, 8], [19, 17, 6, 4, 13, 3]]
    plans = [training_plan(population, step, 128, uniform) for step in range(20)]
    plans += [evaluation_plan(population, cohort, 100) for cohort in ("seen", "unseen")]
    digest = hashlib.sha256()
    for plan in plans:
        for table in (plan.individual_B, plan.attribute_BA, plan.template_BA):
            digest.update(table.astype("<i8").tobytes())
    assert digest.hexdigest() == "86c94c4af4d61ea76d04a222c220c75ee1eb6a637fcafa2ec57f6fd83d836fca"


def templates_of_facts(plans):
    """(individual, attribute) -> the templates in which the plans show this fact."""
    used = {}
    for plan in plans:
        for individual, attributes, templates in zip(
            plan.individual_B, plan.attribute_BA, plan.template_BA, strict=True
        ):
            for attribute, template in zip(attributes, templates, strict=True):
                used.setdefault((individual, attribute), set()).add(template)
    return used


@pytest.mark.parametrize("count", [1, 2, 4, 20])
def test_every_fact_is_shown_in_exactly_count_templates_and_never_in_a_held_out_one(population, count):
    limited = distribution(population, f"templates_per_individual={count}")
    plans = [training_plan(population, step, 128, limited) for step in range(100)]
    assert not any(held_out(population, plan).any() for plan in plans)
    used = templates_of_facts(plans)
    assert len(used) == 48 * len(ATTRIBUTES)
    assert {len(templates) for templates in used.values()} == {count}


def test_people_have_different_templates_and_fewer_templates_are_a_subset_of_more(population):
    one, two = (
        templates_of_facts(training_plan(population, step, 128, limited) for step in range(40))
        for limited in (distribution(population, f"templates_per_individual={count}") for count in (1, 2))
    )
    assert all(one[fact] < two[fact] for fact in one)
    for attribute in range(len(ATTRIBUTES)):
        assert len(set.union(*(one[i, attribute] for i in range(48)))) > 12  # of 25; 48 people


def test_a_fixed_sentence_order_is_one_order_per_person_and_differs_between_people(population):
    fixed = distribution(population, "shuffle_sentences=false")
    orders = {}
    for step in range(40):
        plan = training_plan(population, step, 128, fixed)
        for individual, order in zip(plan.individual_B, plan.attribute_BA, strict=True):
            orders.setdefault(individual, set()).add(tuple(order))
    assert all(len(order) == 1 for order in orders.values())
    assert len(set.union(*orders.values())) > 40
    evaluated = evaluation_plan(population, "seen", 480)
    assert len({tuple(order) for order in evaluated.attribute_BA[evaluated.individual_B == 3]}) > 5


def test_more_templates_than_are_trained_on_are_refused(population):
    with pytest.raises(UserError, match="each individual has 20 training templates"):
        distribution(population, "templates_per_individual=21")


def test_evaluation_of_the_first_people_shows_them_equally_often_and_nobody_else(population):
    for cohort in ("seen", "unseen"):
        start = population.cohort(cohort).start
        plan = evaluation_plan(population, cohort, 30, num_people=10)
        assert np.bincount(plan.individual_B - start).tolist() == [3] * 10
        assert held_out(population, plan).all()


@pytest.mark.parametrize("kind", [["kind=power_law", "exponent=1"], ["kind=adaptive", "initial_individuals=9"]])
def test_other_distributions_train_on_seen_people_in_training_templates(population, kind):
    other = distribution(population, *kind)
    plans = [training_plan(population, step, 64, other) for step in range(30)]
    assert not any(held_out(population, plan).any() for plan in plans)
    limit = 9 if "initial_individuals=9" in kind else 48
    assert {i for plan in plans for i in plan.individual_B} <= set(range(limit))


def test_batches_for_a_purpose_are_of_their_cohort_in_training_templates_and_differ_from_others(population):
    plans = [
        cohort_plan(population, "unseen", purpose, number, 64)
        for purpose, number in (("fisher", 0), ("fisher", 0), ("fisher", 1), ("slots", 0))
    ]
    for plan in plans:
        assert set(plan.individual_B.tolist()) <= set(population.cohort("unseen"))
        split_BA = population.split_PA[plan.individual_B[:, None], plan.attribute_BA]
        trained_BAJ = population.splits.trained_SJ[split_BA]
        assert (trained_BAJ == plan.template_BA[..., None]).any(axis=2).all()
    first, same, *others = plans
    assert (first.individual_B == same.individual_B).all()
    assert all((first.individual_B != other.individual_B).mean() > 0.5 for other in others)
