"""The study's law of the plateau's end, and the published points behind it (section 4; Figure 2, right)."""

import numpy as np

from moefacts.experiments.studies.plateau_law.units import rate_sum

A, B, R_SQUARED = 0.43, 0.81, 0.998
BATCH_SIZE = 128  # biographies per step
ENDS = {4000: 375, 8000: 600, 16000: 1110, 32000: 2090, 64000: 3085, 128000: 6030, 256000: 10855}  # digitised, in steps
TEXT, TEXT_IN_MATH = f"{A}·N^{B}", f"{A}·N$^{{{B}}}$"
ENCOUNTERS = {size: end * BATCH_SIZE / size for size, end in ENDS.items()}  # biographies per person
_RATE, _FINAL_RATE, _STEPS = 4e-4, 1e-7, 16000  # of the study's cosine


def steps(num_people: np.ndarray) -> np.ndarray:
    """The plateau's end by the study's law, in steps of ``BATCH_SIZE`` biographies."""
    return A * np.power(num_people, B)


def rate_sums(num_people: np.ndarray) -> np.ndarray:
    """The sum of the study's learning rates until the plateau's end by its law."""
    return np.asarray(rate_sum(steps(num_people), "cosine", _RATE, _FINAL_RATE, _STEPS))
