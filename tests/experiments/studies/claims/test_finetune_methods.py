"""The claims about methods of fine-tuning, in every scenario."""

import numpy as np

from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.finetune_methods import STUDY
from moefacts.experiments.studies.finetune_methods.grid import DISTILLATION, FULL, KINDS, LORA, METHODS, SPARSE
from moefacts.experiments.studies.finetune_methods.methods_figure import old_at_levels
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.claims.fine_tuned import BEFORE, fine_tuned_run
from tests.experiments.studies.made_up import replicate

ALL = texts(STUDY)
BETTER = dict.fromkeys(METHODS, 0.7) | {FULL: 0.4, SPARSE: 0.8}
WORSE = dict.fromkeys(METHODS, 0.3) | {FULL: 0.4, SPARSE: 0.2}
ALIKE = dict.fromkeys(METHODS, 0.5)


def runs(kept=BETTER, new=400.0, scatter=0.01, seeds=5, only=None):
    """Runs that keep ``kept`` by method. Seeds are ``scatter`` apart, every method in a direction of its own."""
    made = []
    for grid_run in STUDY.grids["laptop"]:
        method, number = grid_run.labels["method"], replicate(grid_run)
        if number >= seeds or (only and method not in only):
            continue
        moved = scatter * np.cos(2 * np.pi * (number / 5 + list(METHODS).index(method) / 7))
        made.append(fine_tuned_run(grid_run, kept[method] + moved, new))
    return made


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(WORSE), ALL),
    Case(TOO_SHORT, lambda: runs(new=9000.0), ALL, "pairs 90% of the new values are not known"),
    Case(TOO_NOISY, lambda: runs(ALIKE, scatter=0.2), ALL),
    Case(TOO_NOISY, lambda: runs(seeds=1), ALL, "too few seeds"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_old_accuracy_is_read_where_new_accuracy_first_reaches_a_level():
    (run,) = runs(only=(FULL,), seeds=1)[:1]
    read = old_at_levels(run.record)
    assert read[9] == read[-1] == np.float64(BEFORE * (0.4 + 0.01 * np.cos(0)))  # at 50% and 99%
    (short,) = runs(only=(FULL,), seeds=1, new=3200.0)[:1]  # half is known at the end
    assert np.isnan(old_at_levels(short.record)[-1])


def test_the_page_has_a_row_of_every_method_and_kind_and_a_panel_of_every_kind(tmp_path):
    findings = STUDY.examine(runs(seeds=2, only=(FULL, LORA, DISTILLATION)))
    assert len(findings.tables[0].rows) == 3 * len(KINDS)
    figure = findings.figures["methods"][1]()
    assert [axes.get_title() for axes in figure.axes] == list(KINDS)
    assert [drawing.name for drawing in draw_study_figures(findings.figures, tmp_path)] == ["methods"]
