"""How groups that training shows in turn are learned and forgotten."""

from dataclasses import dataclass

import numpy as np

from moefacts.analysis.phases import steps_to_accuracy
from moefacts.runs import keys
from moefacts.runs.reader import Run

LEARNED = 0.2  # a group counts as learned with at least this accuracy at the end of a turn
FORGOTTEN = 0.5  # learning and forgetting are timed at this share of the accuracy at the end of the turn


@dataclass(frozen=True)
class Visit:
    """One turn of a group.

    Attributes:
        reached: the group's accuracy at the end of its turn.
        gained: ``reached`` minus the accuracy at the beginning of the turn. That of a first turn comes from lucky
            guesses.
        learning: steps from the beginning of the turn to ``FORGOTTEN`` of ``reached``; 0 if as much is known when it
            begins. None if ``reached`` is below ``LEARNED``.
        forgetting: steps from the end of the turn until accuracy has fallen to the same level. If it does not fall so
            far before the group's next turn, or before training ends, the steps until then, provided they are more than
            ``learning``. Otherwise None.
        last: the group's accuracy at the beginning of its next turn, or at the end of training.
    """

    reached: float
    gained: float
    learning: float | None
    forgetting: float | None
    last: float


def visits(run: Run) -> list[list[Visit]]:
    """The turns of every group, in order, of a run with ``sampling.kind=sequential``."""
    sampling, steps = run.settings.sampling, run.settings.training.steps
    groups, repeats = sampling.num_groups, sampling.num_repeats
    assert groups is not None
    assert repeats is not None
    turn = steps / (groups * repeats)
    found = []
    for group in range(groups):
        accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, bucket=f"group_{group}")
        begins = [turn * (groups * number + group) for number in range(repeats)]
        ends = [*begins[1:], float(steps)]
        curve = accuracy.index.to_numpy(), accuracy.to_numpy()
        found.append([_visit(*curve, begin, begin + turn, end) for begin, end in zip(begins, ends, strict=True)])
    return found


def _visit(step: np.ndarray, known: np.ndarray, begin: float, end: float, until: float) -> Visit:
    """The turn from ``begin`` to ``end``; ``until`` is the next one's beginning, or the end of training."""
    before, reached, last = np.interp([begin, end, until], step, known).tolist()
    learning = forgetting = None
    if reached >= LEARNED:
        level = FORGOTTEN * reached
        learned = steps_to_accuracy(*part(step, known, begin, end), level)
        forgotten = steps_to_accuracy(*part(step, -known, end, until), -level)
        learning = None if learned is None else learned - begin
        if forgotten is not None:
            forgetting = forgotten - end
        elif learning is not None and until - end > learning:
            forgetting = until - end
    return Visit(reached, reached - before, learning, forgetting, last)


def part(step: np.ndarray, value: np.ndarray, begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve from ``begin`` to ``end``, with interpolated values at both."""
    inside = step[(step > begin) & (step < end)]
    steps = np.concatenate([[begin], inside, [end]])
    return steps, np.interp(steps, step, value)


def forgetting_and_learning(run: Run) -> tuple[float | None, float | None]:
    """The geometric means of the steps of forgetting and of learning over the turns that have both; None without any.

    A turn at whose beginning half of it was known already has no time of learning.
    """
    both = [(v.forgetting, v.learning) for turns in visits(run) for v in turns if v.forgetting and v.learning]
    forgetting, learning = np.exp(np.mean(np.log(both), axis=0)).tolist() if both else (None, None)
    return forgetting, learning
