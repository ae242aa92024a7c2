"""The claims about ways to hallucinate less, in every scenario; and what counts as answered, made up and refused."""

import numpy as np
import pandas as pd
import pytest

from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies._kinds import DENSE
from moefacts.experiments.studies.hallucination_methods import STUDY
from moefacts.experiments.studies.hallucination_methods.grid import NONE, PRIOR, SMOOTHING, arm
from moefacts.experiments.studies.hallucination_methods.measures import (
    answered,
    hallucination_rate,
    over_refusal,
    right_at,
)
from moefacts.runs import keys, tables
from moefacts.synthetic_data.pools import ATTRIBUTES
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

ALL = texts(STUDY)
ROWS = 40


def table(known, sure, says_unknown=0.0):
    """A confidence table: these shares of the values of seen people are known, and of those of others answered.

    Of seen people the model answers what it knows; of unseen people it would answer ``says_unknown`` more, but abstains.
    """
    parts = []
    for cohort, share in (("seen", known), ("unseen", sure)):
        rank = np.linspace(0, 1, ROWS * len(ATTRIBUTES), endpoint=False)
        abstains = np.full(len(rank), False) if cohort == "seen" else (rank >= share) & (rank < share + says_unknown)
        columns = {
            "cohort": cohort, "biography": np.repeat(np.arange(ROWS), len(ATTRIBUTES)), "attribute": list(ATTRIBUTES) * ROWS,
            "attribute_accuracy": (rank < share) * float(cohort == "seen"),
            "value_confidence": np.where((rank < share) | abstains, 0.9, 0.2), "abstained": abstains.astype(float),
        }  # fmt: skip
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def runs(saved=0.5, cost=0.04, known=0.9, scatter=0.0, seeds=2):
    """Runs in which a method leaves this share of regret and answers, and costs so many of the values known.

    Label smoothing saves half as much as the others. Seeds are ``scatter`` apart, in every arm in another direction.
    """
    made = []
    arms = list(dict.fromkeys(run.labels["arm"] for run in STUDY.grids["laptop"]))
    for grid_run in STUDY.grids["laptop"]:
        number, method = replicate(grid_run) - 30, grid_run.labels["method"]
        if number >= seeds:
            continue
        moved = scatter * np.cos(2 * np.pi * (number / 3 + arms.index(grid_run.labels["arm"]) / len(arms)))
        left = 1.0 if method == NONE else (1 + saved) / 2 if method == SMOOTHING else saved
        ends = known - (0.0 if method == NONE else cost) + 1e-3 * number + moved / 4
        values = {
            "eval/seen/attribute_accuracy": ends,
            "eval/unseen/attribute_loss": BASELINE + 4 * (left + moved) + 1e-3 * number,
        }
        run = made_up_run(grid_run, 300.0, last=500, extra=lambda step, values=values: values)
        run.record.__dict__["confidence"] = table(ends, float(np.clip(0.4 * (left + moved), 0, 1)))
        made.append(run)
    return made


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(2.0, -0.04), [text for text in ALL if "tenth" not in text]),
    Case(DOES_NOT_HOLD, lambda: runs(cost=0.3), [text for text in ALL if "tenth" in text]),
    Case(TOO_SHORT, lambda: runs(known=0.4, cost=0), ALL, "are known at the end"),
    Case(TOO_NOISY, lambda: runs(1.0, 0.02, scatter=0.3), [text for text in ALL if "tenth" not in text]),
    Case(TOO_NOISY, lambda: runs(seeds=1), ALL, "too few seeds"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_a_model_answers_where_it_is_sure_of_a_value():
    found = runs()
    by_arm = {(run.labels["arm"], run.seed): run.record for run in found}
    seed = found[0].seed
    plain, ours = by_arm[arm(DENSE), seed], by_arm[arm(DENSE, PRIOR), seed]
    assert hallucination_rate(plain) == pytest.approx(0.4, abs=0.01)
    assert over_refusal(plain, plain) == 0
    assert over_refusal(ours, plain) == pytest.approx(0.04 / 0.9, abs=0.01)
    ours.__dict__["confidence"] = table(0.9, 0.1, says_unknown=0.3)
    assert hallucination_rate(ours) == pytest.approx(0.1, abs=0.01)
    assert answered(ours.confidence.drop(columns="abstained")).mean() > answered(ours.confidence).mean()


def test_at_a_matched_rate_a_method_that_only_shifts_confidence_saves_nothing():
    run = next(found.record for found in runs() if found.labels["arm"] == arm(DENSE))
    confidence = np.linspace(0, 1, 1000, endpoint=False)

    def with_confidence(of_seen, of_unseen, abstained=0.0):
        rows = {"biography": range(1000), "attribute": "major", tables.ABSTAINED: abstained}
        parts = [
            pd.DataFrame(rows | {"cohort": cohort, keys.ATTRIBUTE_ACCURACY: right, tables.VALUE_CONFIDENCE: sure})
            for cohort, right, sure in ((keys.SEEN, 1.0, of_seen), (keys.UNSEEN, 0.0, of_unseen))
        ]
        run.__dict__["confidence"] = pd.concat(parts)
        return right_at(run, 0.05)

    assert with_confidence(confidence, confidence) == pytest.approx(0.05, abs=0.002)  # it cannot tell whom it knows
    assert with_confidence(confidence / 2, confidence / 2) == pytest.approx(0.05, abs=0.002)  # less sure of all alike
    assert with_confidence(confidence, confidence / 2) == pytest.approx(1 - 0.475, abs=0.002)
    assert with_confidence(confidence, np.zeros(1000)) == pytest.approx(0.999)
    assert with_confidence(confidence, confidence, abstained=1.0) == 0


def test_the_table_and_the_figure_have_every_method(tmp_path):
    findings = STUDY.examine(runs())
    (found,) = findings.tables
    assert len(found.rows) == 11 + 4
    assert all(len(row) == len(found.columns) for row in found.rows)
    assert [drawing.name for drawing in draw_study_figures(findings.figures, tmp_path)] == ["pareto", "threshold"]
    assert STUDY.examine([]).figures == {}
