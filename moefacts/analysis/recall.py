"""What fine-tuning on new facts does to the recall of old ones: the trough, the recovery and the erosion after it."""

from typing import Any

import numpy as np

from moefacts.analysis.phases import steps_to_accuracy

HALF = 0.5


def recall_measures(step: np.ndarray, old: np.ndarray, new: np.ndarray) -> dict[str, Any]:
    """Measures of the recall of old and of new facts, from before the first step of fine-tuning to its last.

    Args:
        step: the evaluated steps, ascending from 0.
        old: the share of old facts that is recalled at each of them.
        new: the same of new facts.

    Returns:
        Of old facts: ``start`` and ``end``; ``trough`` and ``trough_step``, the lowest recall after step 0 and where it
        is first reached; ``drop``, start - trough; ``recovered``, the highest recall from the trough on; ``rebound``,
        recovered - trough; ``erosion``, recovered - end; ``forgetting_step``, where recall has fallen to half of its
        start. Of new facts: ``learning_step``, where half of them are recalled, and ``new_end``. Both steps are
        interpolated, and None if that never happens. Beside them, ``last_step``.
    """
    lowest = 1 + int(np.argmin(old[1:]))
    trough, recovered = float(old[lowest]), float(old[lowest:].max())
    return {
        "start": float(old[0]),
        "trough": trough,
        "trough_step": int(step[lowest]),
        "drop": float(old[0]) - trough,
        "recovered": recovered,
        "end": float(old[-1]),
        "rebound": recovered - trough,
        "erosion": recovered - float(old[-1]),
        "forgetting_step": steps_to_accuracy(step, -old, -HALF * float(old[0])),
        "learning_step": steps_to_accuracy(step, new, HALF),
        "new_end": float(new[-1]),
        "last_step": int(step[-1]),
    }
