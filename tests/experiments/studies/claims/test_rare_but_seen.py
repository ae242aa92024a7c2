"""The claims about people who were seen rarely, in every scenario."""

from dataclasses import replace

import numpy as np

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.rare_but_seen import CELEBRITIES, NEW, RARE, REST, STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate

ALL = RISES, NO_COLLAPSE, CHEAPER = texts(STUDY)


def runs(lowest=None, end=0.7, before=0.9, scatter=0.02, seeds=5):
    """Runs in which celebrities fall to ``lowest`` of ``before`` by arm and recover, and everybody ends at ``end``.

    Seeds are ``scatter`` apart, in the two arms in different directions.
    """
    lowest = lowest or {RARE: 0.8, NEW: 0.4}
    made = []
    for grid_run in STUDY.grids["laptop"]:
        arm, number = grid_run.labels["arm"], replicate(grid_run)
        if number >= seeds:
            continue
        moved = scatter * np.cos(2 * np.pi * (number / 5 + len(arm) / 7))
        started = replace(grid_run, overrides=(*grid_run.overrides, "init.run=x", "init.step=1", "init.source=y"))

        def known(step, least=before * lowest[arm] + moved, final=end + moved):
            shares = {
                CELEBRITIES: np.interp(step, [0, 80, 800], [before, least, 0.95 * before]),
                "seen": np.interp(step, [0, 800], [0.5, final]),
                REST: np.interp(step, [0, 800], [0.45, 0.7]),
                "new_480": step / 1000,
            }
            values = {f"eval/{name}/attribute_accuracy": float(max(one, 0)) for name, one in shares.items()}
            return values | {f"eval/{name}/attribute_loss": 5 * (1 - float(one)) for name, one in shares.items()}

        run = made_up_run(started, 400.0, last=800, extra=known)
        run.record.manifest["seen_before"] = [[0, 512]]
        made.append(run)
    return made


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs({RARE: 0.2, NEW: 0.4}, end=0.3), ALL),
    Case(TOO_SHORT, lambda: runs(before=0.0, scatter=0.0), (NO_COLLAPSE, CHEAPER), "nothing was known of celebrities"),
    Case(TOO_NOISY, lambda: runs({RARE: 0.5, NEW: 0.5}, end=0.5, scatter=0.3), ALL),
    Case(TOO_NOISY, lambda: runs(seeds=1), ALL, "too few seeds"),
]
# It compares two evaluations of any run, and both are always made.
IMPOSSIBLE = {(RISES, TOO_SHORT): "a rise is measured however short fine-tuning is; what is known is not asked for"}


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
