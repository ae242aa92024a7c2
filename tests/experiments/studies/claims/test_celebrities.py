"""The claims about celebrities, in every scenario."""

from functools import partial

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.celebrities import MAIN, STUDY
from tests.experiments.studies.claims.arms import NEVER, arm_runs
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import replicate

ALL = texts(STUDY)
END, LOSS, KNOWN = ALL


def known(celebrities, rest, jumps=0.0):
    """``extra`` of runs with these accuracies; ``jumps`` is what every other seed adds to that of the rest."""

    def of(grid_run):
        if grid_run.labels["arm"] == "uniform":
            return None
        more = jumps * (replicate(grid_run) % 2) + 0.001 * replicate(grid_run)
        accuracies = {"celebrities": celebrities, "rest": rest + more}
        found = {f"eval/seen/bucket/{bucket}/attribute_accuracy": one for bucket, one in accuracies.items()}
        return lambda step: found

    return of


runs = partial(arm_runs, STUDY, extra=known(0.8, 0.2))

CASES = [
    Case(HOLDS, lambda: runs({MAIN: 0.5}), ALL),
    Case(DOES_NOT_HOLD, lambda: runs({MAIN: 0.7}, extra=known(0.2, 0.8)), ALL),
    Case(TOO_SHORT, lambda: runs({}, NEVER, share=0.3, stands={MAIN: 1.02}), (END, LOSS)),
    Case(
        TOO_SHORT,
        lambda: runs({}, NEVER, share=0.3, extra=known(0.02, 0.01)),
        (KNOWN,),
        "in 12 of 12 runs less than 5% is known of either",
    ),
    Case(TOO_NOISY, lambda: runs({}, scatter=0.2, extra=known(0.4, 0.1, jumps=0.8)), ALL),
    Case(TOO_NOISY, lambda: runs({MAIN: 0.5}, seeds=1)[:2], ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
