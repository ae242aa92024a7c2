"""The study's law of the plateau's end, and the published points behind it (section 4; Figure 2, right)."""

import numpy as np

A, B, R_SQUARED = 0.43, 0.81, 0.998
BATCH_SIZE = 128  # biographies per step
ENDS = {4000: 375, 8000: 600, 16000: 1110, 32000: 2090, 64000: 3085, 128000: 6030, 256000: 10855}  # digitised, in steps
TEXT = f"{A}·N^{B}"


def steps(num_people: np.ndarray) -> np.ndarray:
    """The plateau's end by the study's law, in steps of ``BATCH_SIZE`` biographies."""
    return A * np.power(num_people, B)
