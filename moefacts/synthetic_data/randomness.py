"""Random numbers as pure functions of (seed, purpose, index), the same on every device and library version.

A draw evaluates the SplitMix64 generator (Steele, Lea & Flood 2014) at a position instead of stepping through it, so
any element of any stream is available without those before it. All arithmetic is on wrapping 64-bit integers, with
operators that numpy arrays and torch tensors of ``int64`` share.
"""

import hashlib
from typing import TypeVar

import numpy as np

Array = TypeVar("Array")  # an int64 numpy array or an int64 torch tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MULTIPLIER_2 = 0x94D049BB133111EB - (1 << 64)
_FEISTEL_ROUNDS = 6


def stream_key(seed: int, *purpose: object) -> int:
    """The signed 64-bit key of the random stream for ``seed`` and ``purpose``."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def _shift_right(bits, count: int):
    return (bits >> count) & ((1 << (64 - count)) - 1)


def _finalise(bits):
    bits = (bits ^ _shift_right(bits, 30)) * _MULTIPLIER_1
    bits = (bits ^ _shift_right(bits, 27)) * _MULTIPLIER_2
    return bits ^ _shift_right(bits, 31)


def random_bits(key: int, index: Array) -> Array:
    """64 random bits for every element of ``index``, as ``int64`` of the same shape."""
    return _finalise((index + 1) * _GOLDEN + key)  # type: ignore[operator]


def random_below(key: int, index: Array, bound: int) -> Array:
    """Uniform integers in [0, bound) for every element of ``index``; ``bound`` is below 2**31.

    Multiply-and-shift on 32 random bits: the bias is at most bound / 2**32.
    """
    return (_shift_right(random_bits(key, index), 32) * bound) >> 32


def random_permutation(key: int, index: np.ndarray, domain: int) -> np.ndarray:
    """A pseudo-random bijection of [0, domain), evaluated at ``index``; distinct indices give distinct results.

    It is a Feistel network on the next power of four with cycle walking (Black & Rogaway 2002): results outside the
    domain are sent through again until they fall inside. ``domain`` is at most 2**62.
    """
    half_bits = max(1, ((domain - 1).bit_length() + 1) // 2)
    mask = (1 << half_bits) - 1

    def encipher(block: np.ndarray) -> np.ndarray:
        left, right = block >> half_bits, block & mask
        for round_number in range(_FEISTEL_ROUNDS):
            left, right = right, left ^ (random_bits(key + round_number, right) & mask)
        return (left << half_bits) | right

    result = encipher(np.asarray(index, dtype=np.int64))
    outside = np.flatnonzero(result >= domain)
    while outside.size:
        result[outside] = encipher(result[outside])
        outside = outside[result[outside] >= domain]
    return result
