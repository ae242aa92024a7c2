"""The claims about groups in turn, in every scenario."""

import numpy as np

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.sequential.sequential import STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate

ALL = EASIER, FASTER = texts(STUDY)
STEPS = 1600


def runs(learning=50, forgetting=25, gain=lambda group, number: 0.4 + 0.03 * (group + 0.2 * number), only=None):
    """Each group rises to ``gain`` in twice ``learning`` steps of its turn, then falls in twice ``forgetting`` steps."""
    made = []
    for run in STUDY.grids["laptop"]:
        groups, number = run.labels["groups"], replicate(run)
        times = [one(number) if callable(one) else one for one in (learning, forgetting)]
        extra = _turns(groups, times, lambda group, n=number: gain(group, n))
        made.append(made_up_run(run, 1400, last=STEPS, extra=extra))
    return made[:only]


def _turns(num_groups, times, gain):
    def known(group, step):
        begin, end = STEPS * group / num_groups, STEPS * (group + 1) / num_groups
        rises = np.clip((step - begin) / (2 * times[0]), 0, 1)
        return gain(group) * float(min(rises, max(0.0, 1 - max(0.0, step - end) / (2 * times[1]))))

    return lambda step: {
        f"eval/seen/bucket/group_{group}/attribute_accuracy": known(group, step) for group in range(num_groups)
    }


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(20, 50, lambda group, number: 0.5 - 0.01 * (group + 0.2 * number)), ALL),
    Case(DOES_NOT_HOLD, lambda: runs(40, 10**6), (FASTER,)),  # it outlasts training
    # Less than a fifth is known of any group when its turn ends, although later groups are known better
    Case(TOO_SHORT, lambda: runs(gain=lambda group, number: 0.01 * (1 + group / 2)), ALL, "no pair"),
    Case(TOO_NOISY, lambda: runs(
        lambda number: 20 + 20 * number, lambda number: 60 - 20 * number,
        lambda group, number: 0.4 + 0.02 * (number - 1) * group,
    ), ALL),
    Case(TOO_NOISY, lambda: runs(only=1), ALL, "too few seeds"),
]  # fmt: skip


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
