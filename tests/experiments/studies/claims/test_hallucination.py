"""The claims about people never seen, in every scenario."""

import numpy as np
import pytest

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.hallucination import STUDY, departure_from_emergence, of_known
from moefacts.synthetic_data.cohorts import UNSEEN_PARTS
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

ALL = LEAVES, GROWS, SURE, LESS_SURE, ENTROPY, PARTS = texts(STUDY)
PUBLISHED = tuple(text for text in texts(STUDY, "paper") if text not in ALL)
LEFT, LAST = 400.0, 1200


def runs(unseen=None, parts=0.5, probability=0.79, seen=0.99, entropy=0.75, scatter=0.0, seeds=5, last=LAST):
    """Runs whose plateau ends at ``LEFT``.

    ``unseen`` is a function of the step: the loss on unseen people over the baseline, by default one that rises as that
    on seen people falls; ``parts`` is the share of its regret that people with unseen parts have. ``probability`` and
    ``entropy`` are those on unseen people at the end, ``scatter`` apart over the seeds; ``seen`` is that on seen people.
    """
    made = []
    for grid_run in STUDY.grids["laptop"]:
        number = replicate(grid_run) % 5
        if number >= seeds:
            continue
        moved = scatter * np.cos(2 * np.pi * number / 5) + 1e-3 * number

        def measured(step, moved=moved):
            rises = np.interp(step, [0, 60, LEFT, 900], [2, 1, 1, 2.4])
            loss = BASELINE * ((unseen or (lambda step, moved: rises + moved))(step, moved))
            values = {
                "eval/unseen/max_probability": probability + moved, "eval/seen/max_probability": seen,
                "eval/unseen/entropy": entropy + moved, "eval/seen/entropy": 0.6,
                "eval/unseen/attribute_loss": loss, f"eval/{UNSEEN_PARTS}/attribute_accuracy": 0.01,
                f"eval/{UNSEEN_PARTS}/attribute_loss": loss - (1 - parts) * (loss - BASELINE) + 2 * moved,
            }  # fmt: skip
            return values

        made.append(made_up_run(grid_run, LEFT + 2 * number, last=last, extra=measured))
    return made


def too_early(step, moved):
    """The loss on unseen people rises long before anything is known, and falls afterwards."""
    return float(np.interp(step, [0, 80, 160, 400, 1200], [2, 1, 1.5, 1.5, 1.2])) + moved


def at_any_time(step, moved):
    """It rises within three hundred steps before or after knowledge emerges."""
    return float(np.interp(step, [0, 60, 430 + 300 * moved, 500 + 300 * moved], [2, 1, 1, 1.5]))


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(too_early, 1.5, probability=0.4, seen=0.3, entropy=0.5), ALL),
    Case(TOO_SHORT, lambda: runs(last=560), ALL, "are never known"),
    Case(TOO_NOISY, lambda: runs(at_any_time, 1.0, 0.5, 0.5, 0.6, scatter=1.0), (LEAVES, SURE, LESS_SURE, ENTROPY)),
    Case(TOO_NOISY, lambda: runs(seeds=1), ALL, "too few seeds"),
    Case(HOLDS, runs, PUBLISHED, scale="paper"),
    Case(DOES_NOT_HOLD, lambda: runs(probability=0.6, entropy=1.2), PUBLISHED, scale="paper"),
    Case(TOO_SHORT, lambda: runs(last=560), PUBLISHED, "are never known", scale="paper"),
    Case(TOO_NOISY, lambda: runs(scatter=0.4), PUBLISHED, scale="paper"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_measures_are_read_where_so_much_is_known():
    run = runs(lambda step, moved: 1 + step / 1000)[0].record
    accuracy = run.curve("attribute_accuracy")
    step = np.interp(0.5, accuracy, accuracy.index)
    assert of_known(run, "attribute_loss", 0.5) == pytest.approx(BASELINE * (1 + step / 1000), rel=1e-6)
    assert of_known(run, "attribute_loss", 1.1) is None
    assert departure_from_emergence(runs(lambda step, moved: 1.2)[0].record) is None  # above from the first step on


def test_the_seeds_are_not_those_of_phases():
    from moefacts.experiments.studies import phases

    ours, theirs = (
        {one for run in study.grids[scale] for one in run.overrides if one.startswith("seed=")}
        for study, scale in ((STUDY, "laptop"), (phases.STUDY, "laptop"))
    )
    assert ours.isdisjoint(theirs)
    assert len(ours) == 5
