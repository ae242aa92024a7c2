"""The claims about replay, in every scenario."""

from dataclasses import replace

import numpy as np

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.replay import MAIN, NONE, SELF, STUDY, SUBSET
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate

ALL = BETTER, SAME_DROP, OTHERS, ITS_OWN = texts(STUDY)
FINELY = "evaluation.interval=10"
USUAL = (0.6, 0.3, 0.3)
SHOWN = {MAIN: (0.6, 0.9, 0.9), SUBSET: (0.6, 0.5, 0.5), SELF: (0.6, 0.8, 0.8)}
OTHERWISE = {MAIN: (0.95, 0.1, 0.1), SUBSET: (0.6, 0.1, 0.1), SELF: (0.6, 0.1, 0.1)}


def runs(kept=SHOWN, usual=USUAL, new=400.0, scatter=0.01, last=1600):
    """Runs that keep so much of old accuracy: at step 30, at the end, and of those never replayed at the end.

    ``usual`` is what arms without an entry in ``kept`` keep. Seeds are ``scatter`` apart.
    """
    made = []
    for grid_run in STUDY.grids["laptop"]:
        arm, number = grid_run.labels["arm"], replicate(grid_run)
        if arm not in (NONE, MAIN, SUBSET, SELF):
            continue
        moved = scatter * np.cos(2 * np.pi * (number / 5 + len(arm) / 7))
        started = replace(
            grid_run, overrides=(*grid_run.overrides, "init.run=x", "init.step=1", "init.source=y", FINELY)
        )
        shares = [one + moved for one in kept.get(arm, usual)]
        run = made_up_run(started, 400.0, last=last, extra=lambda step, shares=shares: known(step, *shares, new))
        run.record.manifest["seen_before"] = [[0, 512]]
        made.append(run)
    return made


def known(step, early, end, others, new):
    """The accuracies at a step."""
    shares = {
        name: 0.95 * np.interp(step, [0, 30, 300], [1, early, final])
        for name, final in (("seen", end), ("replayed", end), ("not_replayed", others))
    }
    shares |= {"new_128": min(1.0, 0.9 * step / new), "unseen": 0.01}
    losses = {f"eval/{name}/attribute_loss": 5 * (1 - one) for name, one in shares.items()}
    return losses | {f"eval/{name}/attribute_accuracy": one for name, one in shares.items()}


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(OTHERWISE), ALL),
    Case(TOO_SHORT, lambda: runs(new=9000.0), (BETTER, OTHERS, ITS_OWN), "90% of the new values are not known"),
    Case(TOO_SHORT, lambda: runs(usual=(0.99, 0.3, 0.3), scatter=0.0), (SAME_DROP,), "less than 5% of old accuracy"),
    Case(TOO_NOISY, lambda: runs({MAIN: (0.68, 0.3, 0.3), SUBSET: USUAL, SELF: USUAL}, scatter=0.2), ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
