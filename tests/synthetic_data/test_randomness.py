import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moefacts.synthetic_data.randomness import random_below, random_bits, random_permutation, stream_key


def splitmix64(seed: int, count: int) -> list[int]:
    """The reference generator, stepped with Python's unbounded integers."""
    mask, outputs, state = (1 << 64) - 1, [], seed & ((1 << 64) - 1)
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        outputs.append(z ^ (z >> 31))
    return outputs


def test_bits_are_splitmix64_at_a_position():
    bits = random_bits(1234567, np.arange(20))
    assert [int(value) & ((1 << 64) - 1) for value in bits] == splitmix64(1234567, 20)
    assert splitmix64(1234567, 1)[0] == 6457827717110365317  # the published test vector


def test_numpy_and_torch_draw_the_same_numbers():
    index = np.arange(1000)
    on_torch = random_below(stream_key(3, "x"), torch.from_numpy(index), 720)
    assert np.array_equal(random_below(stream_key(3, "x"), index, 720), on_torch.numpy())


@given(bound=st.integers(1, 2**31 - 1), seed=st.integers(0, 10**6))
def test_draws_stay_below_their_bound(bound, seed):
    draws = random_below(stream_key(seed, "bound"), np.arange(64), bound)
    assert draws.min() >= 0
    assert draws.max() < bound


def test_draws_are_uniform():
    counts = np.bincount(random_below(stream_key(0, "uniform"), np.arange(80_000), 8), minlength=8)
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_square < 24.3  # 99.9% quantile with 7 degrees of freedom


@pytest.mark.parametrize("domain", [1, 2, 3, 17, 1000, 4096, 5000])
def test_permutation_is_a_bijection(domain):
    assert sorted(random_permutation(stream_key(0, "p"), np.arange(domain), domain)) == list(range(domain))


def test_streams_of_different_purposes_differ():
    index = np.arange(100)
    assert (random_bits(stream_key(0, "a"), index) != random_bits(stream_key(0, "b"), index)).all()
    assert (random_bits(stream_key(0, "a"), index) != random_bits(stream_key(1, "a"), index)).all()
