"""Which facts need which expert: losses that follow from the attribute, from the person, from both, or from neither."""

import numpy as np
import pytest

from moefacts.analysis.expert_facts import explain

PEOPLE, ATTRIBUTES, EXPERTS = 30, 6, 5
PERSON_N = np.repeat(np.arange(PEOPLE), ATTRIBUTES)
ATTRIBUTE_N = np.tile(np.arange(ATTRIBUTES), PEOPLE)


def needed(expert_N, lost=0.5):
    """Each fact loses ``lost`` without its one expert."""
    lost_NE = np.zeros((len(expert_N), EXPERTS))
    lost_NE[np.arange(len(expert_N)), expert_N % EXPERTS] = lost
    return lost_NE


def test_experts_that_hold_attributes():
    found = explain(needed(ATTRIBUTE_N), ATTRIBUTE_N, PERSON_N)
    assert (found.by_attribute, found.by_person) == (pytest.approx(1), pytest.approx(0))
    assert found.num_prompts == len(PERSON_N)


def test_experts_that_hold_people():
    found = explain(needed(PERSON_N * 7 // 3), ATTRIBUTE_N, PERSON_N)
    assert found.by_person == pytest.approx(1, abs=0.05)
    assert found.by_attribute == pytest.approx(0, abs=0.05)


def test_chance_explains_nothing_on_average():
    """Plain shares of variance would give people 17% and attributes 3%."""
    chance = np.random.default_rng(0)
    found = [explain(needed(chance.integers(EXPERTS, size=len(PERSON_N))), ATTRIBUTE_N, PERSON_N) for _ in range(300)]
    for share in ("by_attribute", "by_person"):
        values = np.array([getattr(one, share) for one in found])
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
        assert values.std() < 0.05


def test_half_of_the_facts_by_attribute_and_half_by_person():
    """By the classical sums of squares of a balanced table, computed here in another way."""
    lost_NE = needed(np.where(PERSON_N % 2, ATTRIBUTE_N, PERSON_N // 2))
    share_PAE = (lost_NE / lost_NE.sum(axis=1, keepdims=True)).reshape(PEOPLE, ATTRIBUTES, EXPERTS)
    around_PAE = share_PAE - share_PAE.mean(axis=(0, 1))
    by_attribute = PEOPLE * (around_PAE.mean(axis=0) ** 2).sum()
    by_person = ATTRIBUTES * (around_PAE.mean(axis=1) ** 2).sum()
    total = (around_PAE**2).sum()
    within_attribute = (total - by_attribute) / (PEOPLE * ATTRIBUTES - ATTRIBUTES)
    left = (total - by_attribute - by_person) / ((PEOPLE - 1) * (ATTRIBUTES - 1))
    found = explain(lost_NE, ATTRIBUTE_N, PERSON_N)
    assert found.attribute == pytest.approx(by_attribute - (ATTRIBUTES - 1) * within_attribute)
    assert found.person == pytest.approx(by_person - (PEOPLE - 1) * left)
    assert found.total == pytest.approx(total)
    assert 0.1 < found.by_attribute < 0.9
    assert 0.1 < found.by_person < 0.9


def test_facts_that_lose_little_do_not_count_and_gains_are_no_losses():
    lost_NE = needed(ATTRIBUTE_N)
    lost_NE[:60] = needed(PERSON_N[:60] * 7 // 3, lost=0.04)
    lost_NE[60:, :] -= 0.2 * (lost_NE[60:, :] == 0)
    found = explain(lost_NE, ATTRIBUTE_N, PERSON_N)
    assert found.num_prompts == len(PERSON_N) - 60
    assert found.by_attribute == pytest.approx(1)


@pytest.mark.parametrize("lost_NE", [needed(ATTRIBUTE_N, lost=0.01), needed(np.zeros_like(PERSON_N))])
def test_where_nothing_is_lost_or_all_facts_need_the_same_there_is_nothing_to_explain(lost_NE):
    assert explain(lost_NE, ATTRIBUTE_N, PERSON_N) is None


def test_layers_count_by_what_they_have_to_explain():
    attributes, people = (explain(needed(of), ATTRIBUTE_N, PERSON_N) for of in (ATTRIBUTE_N, PERSON_N * 7 // 3))
    both = attributes + people
    assert both.by_attribute + both.by_person == pytest.approx(1, abs=0.05)
    assert both.by_attribute == pytest.approx(attributes.total / (attributes.total + people.total), abs=0.05)
