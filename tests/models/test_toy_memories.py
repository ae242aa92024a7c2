"""The two toy memories: what their keys and layers are, and that copies trained side by side do not mix."""

import math

import pytest
import torch
from torch.nn import functional as F

from moefacts.models.key_value_memory import KeyValueMemory, in_copies, unit_vectors
from moefacts.models.shared_direction_memory import SharedDirectionMemory, keys_with_shared_direction

WIDTH, UNITS, CLASSES = 8, 16, 5


def generator():
    return torch.Generator().manual_seed(0)


def key_value():
    return KeyValueMemory(unit_vectors(CLASSES, WIDTH, generator()), UNITS, generator())


def shared_direction(is_normalised=True):
    return SharedDirectionMemory(WIDTH, CLASSES, is_normalised, generator())


def test_keys_share_just_one_direction_and_differ_with_the_share_in_nothing_else():
    own = keys_with_shared_direction(400, 64, 0.0, generator())
    mixed = keys_with_shared_direction(400, 64, 0.3, generator())
    shared = (mixed - math.sqrt(0.7) * own) / math.sqrt(0.3)
    torch.testing.assert_close(shared, shared[:1].expand_as(shared))
    torch.testing.assert_close(torch.cat([own, shared[:1]]).norm(dim=1), torch.ones(401))
    products = mixed @ mixed.T
    assert products[~torch.eye(400, dtype=torch.bool)].mean() == pytest.approx(0.3, abs=0.01)


@torch.no_grad()
def test_the_key_value_memory_is_the_sum_over_its_units():
    memory, key = key_value(), unit_vectors(1, WIDTH, generator())[0]
    recalled = torch.zeros(WIDTH)
    for unit in range(UNITS):
        recalled += max(0.0, float(key @ memory.up_DU[:, unit])) * memory.down_UD[unit]
    torch.testing.assert_close(memory(key[None])[0], memory.value_CD @ recalled)


@pytest.mark.parametrize("is_normalised", [True, False])
def test_only_the_normalised_memory_answers_a_longer_key_alike(is_normalised):
    memory, key_BD = shared_direction(is_normalised), unit_vectors(3, WIDTH, generator())
    hidden_BD = key_BD @ memory.first_DD
    length = hidden_BD.norm(dim=1, keepdim=True) if is_normalised else 1.0
    torch.testing.assert_close(
        memory(key_BD), math.sqrt(WIDTH) * hidden_BD / length @ memory.last_DV, rtol=1e-4, atol=1e-5
    )
    factor = 1.0 if is_normalised else 3.0
    torch.testing.assert_close(memory(3 * key_BD), factor * memory(key_BD), rtol=1e-4, atol=1e-5)


def test_without_normalisation_the_hidden_vector_is_as_long_as_with_it_on_average():
    memory = SharedDirectionMemory(256, CLASSES, False, generator())
    hidden = math.sqrt(256) * unit_vectors(100, 256, generator()) @ memory.first_DD
    assert hidden.square().mean().item() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("make", [key_value, shared_direction])
def test_copies_that_are_trained_side_by_side_end_as_each_would_alone(make):
    key_ABD = unit_vectors(2 * 4, WIDTH, generator()).reshape(2, 4, WIDTH)
    answer_AB = torch.tensor([[0, 1, 2, 3], [4, 4, 1, 0]])

    def trained(memory, key, answer):
        optimizer = torch.optim.AdamW(memory.parameters(), lr=0.1)
        for _ in range(3):
            loss = F.cross_entropy(memory(key).flatten(0, -2), answer.flatten(), reduction="sum")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return memory

    together = trained(in_copies(make(), 2), key_ABD, answer_AB)
    for copy in range(2):
        alone = trained(make(), key_ABD[copy], answer_AB[copy])
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(together.get_parameter(name)[copy], parameter, rtol=1e-4, atol=1e-5)
