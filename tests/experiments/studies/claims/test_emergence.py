"""The claims about what emerges first, in every scenario."""

import numpy as np
import pytest

from moefacts.analysis import mechanism
from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import emergence
from moefacts.experiments.studies.emergence import STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate
from tests.experiments.studies.made_up_mechanism import table

ALL = texts(STUDY)
STEPS = range(0, 601, 100)
ORDERED, REVERSED = (100, 200, 300), (450, 400, 350)  # when attention inside names, to names, and the MLP emerge


def runs(when=ORDERED, probed=True, size=0.8, scatter=0.0):
    """Runs in which the three measures pass half of ``size`` at these steps; seeds are ``scatter`` steps apart."""
    made = []
    for grid_run in STUDY.grids["laptop"]:
        known = lambda step: {"eval/seen/attribute_accuracy": float(np.clip((step - 275) / 100, 0, 1))}  # noqa: E731
        run = made_up_run(grid_run, 400.0, last=600, extra=known)
        shift = scatter * np.array([[1, -1, 0], [-1, 1, 0], [0, 1, -1], [0, -1, 1], [1, 0, -1]])[replicate(grid_run)]
        places = (mechanism.CUT_IN_NAME, mechanism.CUT_TO_NAME, mechanism.MLP_AT_VALUE)
        shown = {place: rising(at, -size) for place, at in zip(places, when + shift, strict=True)}
        shown |= {place: rising(300, 0.9) for place in (mechanism.READ_AT_VALUE, mechanism.BY_MLP)}
        if probed:
            run.record.__dict__["emergence"] = table(shown, 4, STEPS, permuted=None)
        made.append(run)
    return made


def rising(at, end):
    """A function of the step that is half of ``end`` at ``at``, in the second layer."""
    return lambda step: [0.0, end * float(np.clip(0.5 + (step - at) / 200, 0, 1)), 0.0, 0.0]


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(REVERSED), ALL),
    Case(TOO_SHORT, lambda: runs(size=0.01), ALL, "does not come to 5%"),
    Case(TOO_SHORT, lambda: runs(probed=False), ALL, "does not come to 5%"),
    Case(TOO_NOISY, lambda: runs((300, 310, 320), scatter=150.0), ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_the_figure_is_drawn_from_what_was_probed(tmp_path, quick_figures):
    assert [one.name for one in draw_study_figures(STUDY.examine(runs()).figures, tmp_path)] == ["emergence"]
    assert STUDY.examine(runs(probed=False)).figures == {}


def test_a_reading_counts_from_what_chance_reads_at_the_first_checkpoint():
    (made, *_) = runs()
    guessed = lambda step: [0.0, 0.3 if step < 300 else 0.9, 0.0, 0.0]  # noqa: E731
    made.record.__dict__["emergence"] = table({mechanism.READ_AT_VALUE: guessed}, 4, STEPS, permuted=None)
    course = emergence.course(made.record, emergence.READ)
    assert (course.iloc[0], course.iloc[-1]) == (0.0, pytest.approx(0.6))
    assert 200 < emergence.emerged(made.record, emergence.READ) < 300  # half of the rise, not of the value
