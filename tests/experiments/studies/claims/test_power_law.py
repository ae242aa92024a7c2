"""The claims about power laws, in every scenario."""

import pytest

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.power_law import MILD, STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

ALL = texts(STUDY)
SHORTENS, SHORTEST, FALLS, GROWS = ALL
NEVER = 10**5


def runs(leaves, best=None, seeds=4, last=None, plateau=lambda run: 1.03):
    """The runs of the grid: ``leaves(run)`` is when a plateau ends.

    ``best`` is (size, budget) -> the exponent with the lowest loss there; the loss is interpolated between budgets.
    """
    made = []
    for run in STUDY.grids["laptop"]:
        size, exponent, budgets = run.labels["size"], run.labels["exponent"], run.labels["budgets"]

        def losses(step, size=size, exponent=exponent, budgets=budgets):
            if step not in budgets:
                return {}
            return {"eval/seen/attribute_loss": BASELINE * (0.5 + 0.3 * abs(exponent - best[size, step]))}

        if replicate(run) < seeds:
            look = {"last": last or budgets[-1], "plateau": plateau(run), "extra": losses if best else None}
            made.append(made_up_run(run, leaves(run) + 2 * replicate(run), **look))
    return made


def earliest_at(*exponents, by=0.2):
    """``leaves`` of runs whose plateaus end earlier with these exponents."""
    return lambda run: (0.3 if run.labels["exponent"] in exponents else 0.3 * (1 + by)) * run.labels["size"]


def jumping(run):
    """Ends that differ more between seeds than between exponents."""
    number = replicate(run) + round(5 * run.labels["exponent"])
    return 0.3 * run.labels["size"] * (1 + 0.5 * (number % 2))


SAME = dict.fromkeys(((1024, 500), (1024, 1000), (2048, 1000), (2048, 1500)), 0.4)
RIGHT = {(1024, 500): 0.8, (1024, 1000): 0.2, (2048, 1000): 0.8, (2048, 1500): 0.6}
WRONG = {(1024, 500): 0.2, (1024, 1000): 0.8, (2048, 1000): 0.2, (2048, 1500): 0.6}

CASES = [
    Case(HOLDS, lambda: runs(earliest_at(*MILD)), (SHORTENS, SHORTEST)),
    Case(HOLDS, lambda: runs(earliest_at(*MILD), RIGHT), (FALLS, GROWS)),
    Case(DOES_NOT_HOLD, lambda: runs(earliest_at(0.0)), (SHORTENS, SHORTEST)),
    Case(DOES_NOT_HOLD, lambda: runs(earliest_at(0.0), WRONG), (FALLS, GROWS)),
    # Mild ones are not reached where the others were long before, and say nothing where the others are not either
    Case(DOES_NOT_HOLD, lambda: runs(lambda run: NEVER if run.labels["exponent"] in MILD else 350), (SHORTEST,), "or more"),
    Case(TOO_SHORT, lambda: runs(lambda run: NEVER, last=300), (SHORTENS,)),
    Case(TOO_SHORT, lambda: runs(lambda run: NEVER, last=300), (SHORTEST,), "×0.00 or more"),
    Case(
        TOO_SHORT,
        lambda: runs(lambda run: NEVER, plateau=lambda run: 1.02 + 0.02 * abs(run.labels["exponent"] - 0.6)),
        (FALLS, GROWS),
        "no two budgets or sizes at which some α has left its plateau",
    ),
    Case(TOO_NOISY, lambda: runs(jumping), (SHORTENS, SHORTEST)),
    Case(TOO_NOISY, lambda: runs(earliest_at(*MILD), SAME), (FALLS, GROWS), "the grid is too coarse"),
    Case(TOO_NOISY, lambda: [r for r in runs(earliest_at(*MILD), seeds=1) if r.labels["size"] == 1024], (SHORTENS, SHORTEST, GROWS)),
]  # fmt: skip


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


@pytest.mark.parametrize(("apart", "answer"), [(0.01, "cannot tell"), (0.2, "holds")])
def test_losses_that_differ_by_less_than_the_margin_do_not_make_an_exponent_the_best(apart, answer):
    def losses(run):
        favourite = {500: 0.8, 1000: 0.2}
        exponent = run.labels["exponent"]
        return lambda step: {
            "eval/seen/attribute_loss": BASELINE * 0.5 * (1 + apart * abs(exponent - favourite.get(step, 0.4)))
        }

    of_one_size = [run for run in STUDY.grids["laptop"] if run.labels["size"] == 1024]
    made = [made_up_run(run, 300, last=1000, extra=losses(run)) for run in of_one_size]
    assert STUDY.claims["laptop"][2].decide(STUDY.examine(made).evidence).answer == answer
