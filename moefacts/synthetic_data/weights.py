"""Weights of people, and tables to draw by them; the numbers are the same on every machine.

Shape legend: P people.
"""

import math

import numpy as np

TABLE_TOTAL = 1 << 62


def inverse_power(num_people: int, exponent: float) -> np.ndarray:
    """i^(−exponent) for i = 1 … ``num_people``.

    It uses only products, square roots and a quotient, which IEEE 754 rounds the same way on every machine. That does
    not hold for ``pow``.
    """
    rank_P = np.arange(1, num_people + 1, dtype=np.float64)
    power_P, factor_P = np.ones(num_people), rank_P.copy()
    fraction, whole = math.modf(exponent)
    with np.errstate(over="ignore"):  # on overflow the weight becomes 1 / inf = 0
        remaining = int(whole)
        while remaining:
            if remaining & 1:
                power_P *= factor_P
            factor_P *= factor_P
            remaining >>= 1
        root_P = rank_P
        while fraction and root_P[-1] > 1:  # one binary digit of the exponent per pass
            root_P, fraction = np.sqrt(root_P), 2 * fraction
            if fraction >= 1:
                power_P *= root_P
                fraction -= 1
    return 1 / power_P


def cumulative_table(weight_P: np.ndarray) -> np.ndarray:
    """Cumulative weights as integers that end at exactly 2^62, so that 62 random bits select a person without bias."""
    weight_P = weight_P / weight_P.max()
    share_P = np.rint(weight_P * (TABLE_TOTAL / math.fsum(weight_P.tolist()))).astype(np.int64)
    share_P[share_P.argmax()] += TABLE_TOTAL - share_P.sum()  # the rounding error, less than one part in 10^12
    return np.cumsum(share_P)
