"""The claims about fine-tuning, in every scenario."""

from dataclasses import replace

import numpy as np
import pandas as pd

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.finetune import FEW, HALF, MAIN, MANY, NARROW, STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate

ALL = FASTER, COLLAPSES, STABLE, SATURATED, WIDE, MORE = texts(STUDY)
KEPT = (COLLAPSES, SATURATED, WIDE, MORE)
SHOWN = {MAIN: 0.3, HALF: 0.15, NARROW: 0.2, FEW: 0.35, MANY: 0.2}
OTHERWISE = {MAIN: 0.7, HALF: 0.8, NARROW: 0.8, FEW: 0.5, MANY: 0.9}


def runs(kept=SHOWN, old=40.0, new=200.0, attention=0.9, scatter=0.02, seeds=5, last=800):
    """Runs that keep a share ``kept`` of old accuracy when half of the new values are known, which is at step ``new``.

    Half of the old accuracy is lost at step ``old``, if it is. Seeds are ``scatter`` apart in logs.
    """
    made = []
    for grid_run in STUDY.grids["laptop"]:
        arm, number = grid_run.labels["arm"], replicate(grid_run)
        if number >= seeds:
            continue
        moved = np.exp(scatter * np.cos(2 * np.pi * (number / 5 + len(arm) / 7)))
        started = replace(grid_run, overrides=(*grid_run.overrides, "init.run=x", "init.step=1", "init.source=y"))
        run = made_up_run(started, 400.0, last=last, extra=lambda step, arm=arm, moved=moved: known(
            step, kept[arm] * moved, old * moved, new / moved, f"new_{ {FEW: 32, MANY: 512}.get(arm, 128)}"
        ))  # fmt: skip
        run.record.manifest["seen_before"] = [[0, 512]]
        run.record.__dict__["attention"] = signatures(attention * moved)
        made.append(run)
    return made


def known(step, kept, old, new, cohort):
    """The accuracies at a step: old people's falls by half until ``old``, then on a line to ``kept`` at ``new``."""
    share = np.interp(step, [0, old, max(new, old + 1)], [1, 0.5 if kept < 0.5 else (1 + kept) / 2, kept])
    shares = {"seen": 0.95 * share, cohort: min(1.0, 0.5 * step / new), "unseen": 0.01}
    losses = {f"eval/{name}/attribute_loss": 5 * (1 - one) for name, one in shares.items()}
    return losses | {f"eval/{name}/attribute_accuracy": one for name, one in shares.items()}


def signatures(left):
    """The attention probe's rows: the second layer's preference for names, and what is left of it at the end."""
    rows = [
        {"signature": "attribute_to_name", "step": step, "layer": layer, "value": value, "reference": 0.3}
        for step, share in ((0, 1.0), (800, left))
        for layer, value in ((0, 0.2), (1, 0.3 + 0.4 * share))
    ]
    return pd.DataFrame(rows)


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(OTHERWISE, old=400.0, attention=0.3), ALL),
    Case(TOO_SHORT, lambda: runs(last=160, new=4000.0, old=4000.0), (FASTER, *KEPT)),
    Case(TOO_NOISY, lambda: runs(dict.fromkeys(SHOWN, 0.48), old=180.0, new=200.0, attention=0.8, scatter=0.3), ALL),
]
IMPOSSIBLE = {(STABLE, TOO_SHORT): "attention can be stable over any number of steps"}


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
