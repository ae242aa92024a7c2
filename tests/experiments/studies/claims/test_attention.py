"""The claims about attention, in every scenario."""

import numpy as np
import pandas as pd

from moefacts.analysis.attention_figures import PANELS
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.attention import STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run

ALL = JOINED, LITTLE, RISES, SHARPER = texts(STUDY)
START, END = 80, 400
# Signature -> layer -> its value when training begins, at the plateau's start and at its end
SHOWN = {
    "name_to_name": [(0.3, 0.7, 0.7), (0.3, 0.3, 0.3)],
    "attribute_to_name": [(0.3, 0.3, 0.3), (0.3, 0.2, 0.5)],
    "attribute_entropy": [(0.9, 0.8, 0.6), (0.9, 0.9, 0.9)],
}
OTHERWISE = {
    "name_to_name": [(0.3, 0.2, 0.2), (0.3, 0.3, 0.3)],
    "attribute_to_name": [(0.3, 0.3, 0.3), (0.3, 0.5, 0.2)],
    "attribute_entropy": [(0.9, 0.3, 0.8), (0.9, 0.9, 0.9)],
}
REFERENCE = 0.31


def runs(signatures=SHOWN, noise=0.01, seeds=5, last=700, start=START, leaves=END, extra=None):
    """Probed runs. Every seed differs from the mean by ``noise``, in another direction at each moment."""
    made = []
    for number, grid_run in enumerate(STUDY.grids["laptop"][:seeds]):
        run = made_up_run(grid_run, leaves, start=start, last=last, extra=extra)
        rows = []
        for step in range(0, min(last, 600) + 1, 20):
            for name in PANELS:
                for layer, values in enumerate(signatures.get(name, [(0.5, 0.5, 0.5)] * 2)):
                    moved = np.array(values) + noise * np.cos(2 * np.pi * (number / 5 + np.array([0, 0.3, 0.6])))
                    rows.append((step, layer, name, np.interp(step, (0, START, END), moved), REFERENCE))
        columns = ["step", "layer", "signature", "value", "reference"]
        run.record.__dict__["attention"] = pd.DataFrame(rows, columns=columns)
        made.append(run)
    return made


def undetermined(step):
    """A loss that comes near the baseline and hovers around the plateau's threshold."""
    return {"eval/seen/attribute_loss": BASELINE * (2 if step < START else 0.98 if step % 60 else 1.0)}


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(OTHERWISE), ALL),
    Case(HOLDS, lambda: [*runs(leaves=5000, last=300)[:1], *runs()[1:]], (RISES, SHARPER), "over 4 of 5 seeds"),
    Case(TOO_SHORT, lambda: runs(OTHERWISE, start=1000, leaves=5000, last=40), ALL, "no seed was trained up to its plateau"),
    Case(TOO_SHORT, lambda: runs(OTHERWISE, leaves=5000, last=300), (RISES, SHARPER), "trained up to its plateau end"),
    Case(TOO_NOISY, lambda: runs(noise=0.9), ALL),
    Case(TOO_NOISY, lambda: runs(OTHERWISE, extra=undetermined), (RISES, SHARPER), "no seed"),
    Case(TOO_NOISY, lambda: runs(seeds=1), ALL, "too few seeds"),
]  # fmt: skip


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
