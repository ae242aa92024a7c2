"""The levels that divide a run into phases, and where a curve crosses one."""

import numpy as np

PLATEAU_CEILING = 1.1  # a run is on its plateau once its attribute loss is within 10% of the baseline
PLATEAU_FLOOR = 0.99  # default: the plateau has ended below this share of the baseline (study, section 2)


def first_true(condition: np.ndarray) -> int | None:
    """The first index at which ``condition`` holds; None when it never does."""
    return int(np.argmax(condition)) if condition.any() else None


def first_below(curve: np.ndarray, level: float) -> int | None:
    """The first index at which ``curve`` lies below ``level``; None when it never does."""
    return first_true(curve < level)


def crossing(step: np.ndarray, curve: np.ndarray, level: float, first: int) -> float:
    """The step at which ``curve`` crosses ``level`` on the straight line that leads to evaluation ``first``."""
    if first == 0:
        return float(step[0])
    before, after = curve[first - 1], curve[first]
    share = (level - before) / (after - before) if after != before else 1.0
    return float(step[first - 1] + np.clip(share, 0, 1) * (step[first] - step[first - 1]))
