import numpy as np

from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.sampling import evaluation_plan, training_plan


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
