"""The claims about two groups in turn, in every scenario."""

import numpy as np

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.alternating import STUDY, learned_again, share_kept
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate

ALL = FASTER, AGAIN, MORE = texts(STUDY)
STEPS = 2400


def runs(learning=60, again=50, forgetting=15, kept=(0.1, 0.3), peak=0.6, only=None):
    """A visit rises to ``peak`` in twice ``learning`` (later ``again``) steps, an absence falls in twice ``forgetting``.

    An absence leaves a share ``kept`` of it, the first and the last. Arguments may be functions of the seed.
    """
    made = []
    for run in STUDY.grids["laptop"]:
        number = replicate(run)
        values = [one(number) if callable(one) else one for one in (learning, again, forgetting, kept, peak)]
        repeats = int(run.labels["arm"].split()[0])
        made.append(made_up_run(run, 1400, last=STEPS, extra=turns(repeats, *values)))
    return made[:only]


def turns(repeats, learning, again, forgetting, kept, peak):
    turn = STEPS / (2 * repeats)

    def known(group, step):
        visit = int((step / turn - group) // 2)  # the last one that began
        if step < turn * group:
            return 0.0
        start = 0.0 if visit == 0 else peak * np.interp(visit - 1, [0, max(repeats - 1, 1)], kept)
        since, rises = step - turn * (2 * visit + group), 2 * (again if visit else learning)
        if since <= turn:
            return float(start + (peak - start) * min(1.0, since / rises))
        left = peak * np.interp(visit, [0, max(repeats - 1, 1)], kept)
        return float(max(left, peak * (1 - (since - turn) / (2 * forgetting))))

    return lambda step: {f"eval/seen/bucket/group_{group}/attribute_accuracy": known(group, step) for group in (0, 1)}


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(20, 60, 70, (0.3, 0.1)), ALL),
    Case(DOES_NOT_HOLD, lambda: runs(40, 30, 10**6, (0.9, 0.6)), (FASTER,)),  # it outlasts every absence
    Case(TOO_SHORT, lambda: runs(peak=0.1), ALL, "no pair"),
    Case(TOO_NOISY, lambda: runs(
        lambda number: 20 + 15 * number, lambda number: 90 - 20 * number, lambda number: 15 + 15 * (4 - number),
        lambda number: (0.2, 0.2 + 0.1 * (number - 2)),
    ), ALL),
    Case(TOO_NOISY, lambda: runs(only=1), ALL, "too few seeds"),
]  # fmt: skip


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_a_group_is_learned_again_from_what_is_left():
    """Half is left after each absence, so nothing has to be learned again until half is known."""
    run = runs(kept=(0.6, 0.6))[0].record
    first, again = learned_again(run)
    assert abs(600 * first - 60) < 20  # evaluations are 20 steps apart
    assert again == 0
    assert np.allclose(share_kept(run), 0.6, atol=0.05)
