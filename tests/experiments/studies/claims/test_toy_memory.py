"""The claims about toy memories, in every scenario."""

from pathlib import Path

import numpy as np
import pandas as pd

from moefacts.experiments.engine.study import FinishedSimulation, SimulationRecord
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.toy_memory.settings import (
    ALL,
    BOTH_HALVES,
    KEY_VALUE,
    KEY_VALUE_SETTINGS,
    NO_DIRECTION,
    NO_NORM,
    REPLAY_16,
    REPLAY_OF,
    SHARED_DIRECTION,
    SHARED_DIRECTION_SETTINGS,
    new_pairs,
    replay,
)
from moefacts.experiments.studies.toy_memory.toy_memory import STUDY, measure
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts

EVERY = texts(STUDY)
STUDY_FASTER, STUDY_END, STUDY_DROP, COLLAPSE, FASTER, RECOVERY, TROUGH, END, *REST = EVERY
NECESSARY, NUMBERS = REST[:3], REST[3:]
TO_BE_LEARNED = [RECOVERY, END, *NECESSARY, *(text for text in NUMBERS if "at the end" in text)]
STEPS = np.array([0, 2, 5, 10, 20, 50, 100, 200])
NONE, WEAK = new_pairs(REPLAY_OF), replay("1/32")
SHAPE = {"start": 1.0, "trough": 0.2, "recovered": 0.8, "end": 0.6, "learned": 30, "new_end": 1.0}
STEADY = {"trough": 0.9, "recovered": 0.95, "end": 0.95}
AS_CLAIMED = {
    NONE: {"trough": 0.1, "end": 0.3},
    WEAK: {"trough": 0.3, "end": 0.7},
    ALL: {"trough": 0.17, "end": 0.54},
    REPLAY_16: {"trough": 0.5, "end": 0.62},
    **dict.fromkeys((BOTH_HALVES, NO_DIRECTION, NO_NORM), STEADY),
}
OTHERWISE = {
    NONE: {"trough": 0.1, "end": 0.7, "learned": 3},
    WEAK: {"trough": 0.3, "end": 0.3},
    ALL: {"trough": 0.7, "recovered": 0.72, "end": 0.71, "learned": 3},
    REPLAY_16: {"trough": 0.2, "end": 0.3},
}


def simulations(shapes, seeds=10, noise=0.0, **everywhere):
    """Seeds of both toys. Old facts fall to a trough at step 10, rise until step 100 and end at 200.

    ``shapes`` are arm -> what differs from ``SHAPE`` there. Odd seeds have ``noise`` more in odd arms and less in even
    ones, and even seeds the reverse. ``everywhere`` is what all arms have.
    """
    made = []
    for toy, settings in ((KEY_VALUE, KEY_VALUE_SETTINGS), (SHARED_DIRECTION, SHARED_DIRECTION_SETTINGS)):
        for seed in range(seeds):
            rows = []
            for number, arm in enumerate(settings["arms"]):
                shape = SHAPE | shapes.get(arm, {}) | everywhere
                moved = 0.002 * (seed % 3) + noise * (-1) ** (seed + number)
                places = [shape["trough"] + moved, shape["recovered"] + moved / 2, shape["end"] + moved]
                old = np.interp(STEPS, [0, 10, 100, 200], np.clip([shape["start"], *places], 0, 1))
                new = np.interp(STEPS, [0, 2 * shape["learned"], 200], [0, shape["new_end"], shape["new_end"]])
                for group, values in (("old", old), ("new", new)):
                    rows += [(arm, group, step, value) for step, value in zip(STEPS, values, strict=True)]
            table = pd.DataFrame(rows, columns=["arm", "group", "step", "accuracy"])
            record = SimulationRecord(Path("nowhere"), {}, table)
            made.append(FinishedSimulation({"simulation": toy}, record, measure(table), seed))
    return made


CASES = [
    Case(HOLDS, lambda: simulations(AS_CLAIMED), EVERY),
    # New facts that are never half learned are learned later than the last step
    Case(HOLDS, lambda: simulations(AS_CLAIMED, new_end=0.4), (STUDY_FASTER, FASTER), "10 of them known within bounds"),
    Case(DOES_NOT_HOLD, lambda: simulations(OTHERWISE), [one for one in EVERY if one not in (STUDY_DROP, *NECESSARY)]),
    Case(DOES_NOT_HOLD, lambda: simulations({WEAK: STEADY}), [STUDY_DROP]),
    Case(DOES_NOT_HOLD, lambda: simulations({}), NECESSARY),
    # Old facts that never fall to half are forgotten later than the last step
    Case(DOES_NOT_HOLD, lambda: simulations({NONE: STEADY, ALL: STEADY}), (STUDY_FASTER, FASTER), "within bounds"),
    Case(TOO_SHORT, lambda: simulations(AS_CLAIMED, start=0.8), EVERY, "in 10 of 10 seeds old facts were not known"),
    Case(TOO_SHORT, lambda: simulations(AS_CLAIMED, new_end=0.8), TO_BE_LEARNED, "seeds new facts were not learned"),
    Case(TOO_NOISY, lambda: simulations(AS_CLAIMED, seeds=1), EVERY, "too few seeds"),
    Case(TOO_NOISY, lambda: simulations({ALL: {"trough": 0.5}, REPLAY_16: {"trough": 0.5}}, noise=0.2), (COLLAPSE, TROUGH)),
    Case(TOO_NOISY, lambda: simulations({ALL: STEADY}), NECESSARY, "so there is no recovery"),
]  # fmt: skip


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
