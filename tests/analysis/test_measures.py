"""In a run with known numbers, each measure has the number that its name promises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moefacts.analysis.groups import Group
from moefacts.analysis.hallucination import (
    HALLUCINATION,
    PROBED,
    departure,
    hallucination_measures,
)
from moefacts.analysis.phases import phase_measures, steps_to_accuracy
from moefacts.analysis.summary import as_json, estimate, meanings, measure_run
from moefacts.config.presets import compose
from moefacts.runs.reader import Run
from tests.conftest import TINY

BASELINE = 5.0
STEPS = (0, 100, 200, 300, 400, 500)
SEEN_LOSS = (9.0, 5.2, 5.1, 4.1, 2.0, 1.0)
ACCURACY = (0.0, 0.02, 0.04, 0.24, 0.64, 0.94)
UNSEEN_STEPS, UNSEEN_LOSS = (0, 200, 400), (9.0, 5.2, 6.0)
ERROR = 0.05
START = 100 * (9.0 - 1.1 * BASELINE) / (9.0 - 5.2)


@pytest.fixture(scope="module")
def settings():
    return compose([*TINY, "evaluation.plateau_threshold=0.99"])


def made_up(settings, confidence=None, errors=True, cohorts=("seen", "unseen"), **changes):
    """A run that evaluates seen people at every evaluation, and unseen people at every second but not at the last."""
    records = []
    for step, loss, accuracy in zip(STEPS, SEEN_LOSS, ACCURACY, strict=True):
        record = {"step": step}
        if "seen" in cohorts:
            record |= evaluation("seen", loss, accuracy, 0.5 + step / 10_000, 2.0 + step / 1000)
        if errors and "seen" in cohorts:
            record["eval/seen/attribute_loss_standard_error"] = ERROR
        if "unseen" in cohorts and step in UNSEEN_STEPS:
            unseen = UNSEEN_LOSS[UNSEEN_STEPS.index(step)]
            record |= evaluation("unseen", unseen, 0.01, 0.3 + step / 10_000, 3.0 + step / 1000)
        for other in set(cohorts) - {"seen", "unseen"}:
            record |= evaluation(other, loss, accuracy, 0.5, 1.0)
        records.append(record)
    settings = replace(settings, evaluation=replace(settings.evaluation, cohorts=list(cohorts)), **changes)
    manifest = {"state": "finished", "no_knowledge_baseline": BASELINE, "parameters": {"total": 7}}
    run = Run(Path("nowhere"), settings, manifest, records)
    run.__dict__["confidence"] = confidence
    return run


def evaluation(cohort, loss, accuracy, probability, entropy):
    values = {"attribute_loss": loss, "attribute_accuracy": accuracy}
    values |= {"max_probability": probability, "entropy": entropy}
    return {f"eval/{cohort}/{name}": value for name, value in values.items()}


def test_phases_of_a_run(settings):
    measures = phase_measures(made_up(settings))
    end = 200 + 100 * (5.1 - 4.95) / 1.0
    assert measures == {
        "baseline": BASELINE,
        "plateau_threshold": 0.99,
        "plateau_start": pytest.approx(START),
        "plateau_start_low": 0,
        "plateau_start_high": 100,
        "plateau_end": 300,
        "plateau_end_interpolated": pytest.approx(end),
        "plateau_length": pytest.approx(end - START),
        "plateau_end_status": "cannot tell",
        "plateau_end_reason": "evaluations are too sparse: 100 steps apart where the plateau ends",
        "plateau_end_low": None,
        "plateau_end_high": None,
        "plateau_end_earliest": 200,
        "plateau_end_latest": 300,
        "steps_to_10_accuracy": pytest.approx(200 + 100 * 0.06 / 0.2),
        "steps_to_50_accuracy": pytest.approx(300 + 100 * 0.26 / 0.4),
        "steps_to_90_accuracy": pytest.approx(400 + 100 * 0.26 / 0.3),
        "last_step": 500,
        "final_attribute_loss": 1.0,
        "final_attribute_accuracy": 0.94,
    }


def test_the_interval_of_the_plateau_end_reflects_the_noise_of_the_evaluations(settings):
    """With this lower threshold the plateau ends at step 450, where evaluations are dense enough to determine it."""
    noisy, exact = (phase_measures(made_up(settings, errors=errors), 0.3) for errors in (True, False))
    end = 450
    assert noisy["plateau_threshold"] == 0.3
    assert noisy["plateau_end_interpolated"] == pytest.approx(end)
    assert (noisy["plateau_end_status"], noisy["plateau_end_reason"]) == ("reached", "")
    half = 1.96 * ERROR * 100 / 1.0
    assert (noisy["plateau_end_low"], noisy["plateau_end_high"]) == pytest.approx((end - half, end + half))
    assert (exact["plateau_end_low"], exact["plateau_end_high"]) == pytest.approx((end, end))


def test_an_accuracy_that_is_only_just_reached_at_the_end_is_reached():
    assert steps_to_accuracy(np.array([0, 100, 200]), np.array([0.0, 0.4, 0.8]), 0.8) == 200


def test_measures_of_unseen_people_and_of_confidence_where_both_cohorts_were_last_evaluated(settings):
    measures = hallucination_measures(made_up(settings))
    assert measures == {
        "unseen_final_attribute_loss": 6.0,
        "unseen_final_loss_over_baseline": 1.2,
        "unseen_departure": pytest.approx(200 + 200 * (5.5 - 5.2) / 0.8),
        "seen_max_probability": pytest.approx(0.54),
        "seen_entropy": pytest.approx(2.4),
        "unseen_max_probability": pytest.approx(0.34),
        "unseen_entropy": pytest.approx(3.4),
        **dict.fromkeys(PROBED),
    }


def test_a_run_that_evaluates_neither_cohort_has_none_of_these_measures(settings):
    measures = hallucination_measures(made_up(settings, cohorts=("old",)))
    assert measures == dict.fromkeys((*HALLUCINATION, *PROBED))


def test_a_run_that_evaluates_unseen_people_alone_is_compared_at_their_last_step(settings):
    measures = hallucination_measures(made_up(settings, cohorts=("unseen",)))
    assert (measures["unseen_entropy"], measures["seen_entropy"]) == (pytest.approx(3.4), None)


def test_in_a_run_on_another_cohort_seen_people_are_a_further_cohort(settings):
    run = made_up(settings, cohorts=("old", "seen"))
    assert measure_run(run)["seen_final_attribute_loss"] == 1.0
    assert "seen_final_attribute_loss" in meanings([Group("", [run])])
    assert "seen_final_attribute_loss" not in meanings([Group("", [made_up(settings)])])


def test_the_auroc_compares_biographies_and_the_calibration_errors_values(settings):
    """Each biography has two values here. Their mean confidence is higher for both seen than for both unseen people."""
    rows = [
        ("seen", 0, 0.9, 0.9, 1), ("seen", 0, 0.3, 0.7, 1),
        ("seen", 1, 0.9, 0.9, 1), ("seen", 1, 0.5, 0.7, 0),
        ("unseen", 0, 0.5, 0.5, 0), ("unseen", 0, 0.5, 0.5, 0),
        ("unseen", 1, 0.8, 0.5, 0), ("unseen", 1, 0.2, 0.5, 1),
    ]  # fmt: skip
    confidences = ["max_probability", "value_confidence"]
    table = pd.DataFrame(rows, columns=["cohort", "biography", *confidences, "attribute_accuracy"])
    measures = hallucination_measures(made_up(settings, table))
    assert measures["unseen_auroc"] == 1.0
    assert measures["seen_teacher_forced_calibration_error"] == pytest.approx((2 * 0.1 + 2 * 0.2) / 4)
    assert measures["unseen_teacher_forced_calibration_error"] == pytest.approx(0.25)
    alone = hallucination_measures(made_up(settings, table[table["cohort"] == "seen"]))
    assert (alone["unseen_auroc"], alone["unseen_teacher_forced_calibration_error"]) == (None, None)
    assert alone["seen_teacher_forced_calibration_error"] == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ([9.0, 8.0, 5.1, 5.2], None),  # falls to the baseline and stays
        ([9.0, 5.0, 5.0, 7.0], 200 + 100 * 0.5 / 2.0),  # leaves at the last evaluation
        ([9.0, 5.0, 5.0, 5.5], None),  # 1.1 times the baseline is not above it
        ([5.0, 7.0, 7.0, 7.0], 100 * 0.5 / 2.0),
    ],
)
def test_the_departure_of_short_curves(loss, expected):
    assert departure(np.arange(0, 400, 100), np.array(loss), 5.0) == (expected and pytest.approx(expected))


def test_two_runs_have_an_interval():
    two = estimate([1.0, 3.0])
    half = 12.706204736432095  # Student's t at 97.5% with one degree of freedom, times a standard error of 1
    assert (two.mean, two.low, two.high) == pytest.approx((2.0, 2 - half, 2 + half))


def test_what_no_run_of_a_group_reached_is_null_in_the_json(settings):
    run = made_up(settings)
    for record in run.records:
        record["eval/seen/attribute_loss"] = 9.0
    result = as_json([Group("all", [run])])
    assert result["groups"][0]["measures"]["plateau_end"] is None
    assert result["groups"][0]["measures"]["baseline"] == vars(estimate([BASELINE]))
