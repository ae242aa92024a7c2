"""Right-padded sequences without their padding: which tokens are real, and which sequences attend side by side.

Shape legend: B sequences, T positions, N real tokens (row by row), C cells of a bucket (its rows * its width),
R rows that are wanted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from moefacts.models.kernels.device import on_device

ROWS_PER_BUCKET = 16  # so few that a bucket's attention stays in a CPU core's cache


def picked(x: Tensor, row_R: Tensor | None) -> Tensor:
    """These rows of ``x``, counted over all its axes but the last, shape (R, D); ``x`` itself for None."""
    return x if row_R is None else x.flatten(0, -2).index_select(0, row_R)


@dataclass(frozen=True)
class Bucket:
    """Neighbouring sequences, padded to the longest of them.

    Attributes:
        start, stop: the range of the real tokens of these sequences.
        num_rows, width: the padded shape.
        token_C: the real token of every cell, counted from ``start``; padding repeats a row's last token.
        cell_N: the cell of every real token.
    """

    start: int
    stop: int
    num_rows: int
    width: int
    token_C: Tensor
    cell_N: Tensor


class Packing:
    """The places of the real tokens of sequences of given lengths that are padded to ``width``.

    Lengths are on the host, so that nothing waits for the device. The closer the lengths of neighbours, the less
    padding the buckets have.

    Attributes:
        real_N: the places of the real tokens in the flattened B * T.
    """

    def __init__(self, length_B: Sequence[int] | np.ndarray, width: int, device: torch.device):
        self.length_B = np.asarray(length_B)
        self.num_rows, self.width = len(self.length_B), width
        self.device = device
        self.real_N = self._tensor(np.flatnonzero(np.arange(width) < self.length_B[:, None]))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return on_device(torch.from_numpy(array), self.device)

    @cached_property
    def buckets(self) -> list[Bucket]:
        """The sequences in groups of ``ROWS_PER_BUCKET``."""
        buckets, start = [], 0
        for first in range(0, len(self.length_B), ROWS_PER_BUCKET):
            length_R = self.length_B[first : first + ROWS_PER_BUCKET]
            width, stop = int(length_R.max()), start + int(length_R.sum())
            place_T = np.arange(width)
            token_RT = (np.cumsum(length_R) - length_R)[:, None] + np.minimum(place_T, length_R[:, None] - 1)
            cell_N = np.flatnonzero(place_T < length_R[:, None])
            buckets.append(
                Bucket(start, stop, len(length_R), width, self._tensor(token_RT.ravel()), self._tensor(cell_N))
            )
            start = stop
        return buckets

    def pad(self, x_ND: Tensor) -> Tensor:
        """The real tokens at their places among zeros, shape (B, T, D)."""
        x_CD = x_ND.new_zeros(self.num_rows * self.width, x_ND.shape[1])
        return x_CD.index_copy(0, self.real_N, x_ND).view(self.num_rows, self.width, -1)

    def unpad(self, x_BTD: Tensor) -> Tensor:
        """The real tokens only, shape (N, D)."""
        return x_BTD.flatten(0, 1).index_select(0, self.real_N)

    def find(self, at_N: Tensor) -> Tensor:
        """The numbers of the real tokens at positions ``at_N`` of the flattened B * T."""
        return torch.searchsorted(self.real_N, at_N)
