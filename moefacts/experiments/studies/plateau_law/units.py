"""Units in which plateau ends can be compared between batch sizes and learning rates."""

import numpy as np


def rate_sum(
    steps: np.ndarray | float, schedule: str, rate: float, final_rate: float, total_steps: int
) -> np.ndarray | float:
    """The sum of the learning rates of the first ``steps`` steps: how far the optimizer could have moved by then.

    Args:
        steps: the number of steps, which need not be whole.
        schedule: constant or cosine.
        rate: the learning rate, at the first step.
        final_rate: that of the last step, with a cosine.
        total_steps: the length of the cosine.
    """
    if schedule == "constant":
        return rate * steps
    length = total_steps - 1
    wave = steps + length / np.pi * np.sin(np.pi * np.minimum(steps, total_steps) / length)
    return final_rate * steps + (rate - final_rate) / 2 * wave
