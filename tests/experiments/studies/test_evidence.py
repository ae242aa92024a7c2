"""The evidence and the verdict texts of phases and power-law, for runs that are a few numbers each."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import phases, power_law
from moefacts.runs import keys

STEPS = [0, 100, 200, 300, 400]


def finished(accuracy=None, loss=None, seed=0, labels=None, **measures):
    curves = {keys.ATTRIBUTE_ACCURACY: accuracy, keys.ATTRIBUTE_LOSS: loss}
    record = SimpleNamespace(seed=seed, baseline=5.0, curve=lambda name: pd.Series(curves[name], index=STEPS))
    usual = {"plateau_start": 100, "plateau_end_interpolated": 300.0, "plateau_end_status": "reached", "last_step": 400}
    usual["plateau_end_reason"] = ""
    measures = usual | measures
    measures |= {f"plateau_start_{bound}": measures["plateau_start"] for bound in ("low", "high")}
    return FinishedRun(labels or {}, record, measures)


RISES = [0.0, 0.01, 0.03, 0.05, 0.9]


def test_accuracy_on_the_plateau_is_averaged_from_its_start_to_its_end_both_included():
    assert phases.accuracy_on_plateau(finished(RISES)) == pytest.approx(0.03)
    assert phases.accuracy_on_plateau(finished(RISES, plateau_end_interpolated=299.0)) == pytest.approx(0.02)
    assert phases.accuracy_on_plateau(finished(RISES, plateau_start=101)) == pytest.approx(0.04)
    for missing in ("plateau_start", "plateau_end_interpolated"):
        assert phases.accuracy_on_plateau(finished(RISES, **{missing: None})) is None
    assert phases.accuracy_on_plateau(finished(RISES, plateau_end_status="cannot tell")) is None
    assert phases.accuracy_on_plateau(finished(RISES, plateau_start=110, plateau_end_interpolated=120.0)) is None


def test_accuracy_at_a_step_is_interpolated_and_unknown_outside_the_run():
    run = finished(RISES).record
    assert phases.accuracy_at(run, 350) == pytest.approx(0.475)
    assert [phases.accuracy_at(run, step) for step in (0, 400)] == [0.0, 0.9]
    assert all(math.isnan(phases.accuracy_at(run, step)) for step in (-1, 401))


def test_three_phases_of_a_run():
    assert phases.three_phases(finished(RISES)) is True
    assert phases.three_phases(finished(RISES, plateau_start=226)) is False  # 74 of 300 steps
    assert phases.three_phases(finished(RISES, plateau_end_status="not reached", plateau_end_interpolated=None)) is None
    assert phases.three_phases(finished(RISES, plateau_end_status="cannot tell")) is None


def decide(study, number, runs, scale="paper"):
    verdict = study.claims[scale][number].decide(runs)
    return verdict.answer, verdict.here


def test_seeds_with_three_phases_are_counted():
    shown, melted = finished(RISES), finished(RISES, plateau_start=290)
    unclear = finished(RISES, seed=7, plateau_end_status="cannot tell", plateau_end_reason="noise")
    assert decide(phases.STUDY, 0, [shown, shown]) == (HOLDS, "in 2 of 2 seeds")
    assert decide(phases.STUDY, 0, [shown, melted]) == (DOES_NOT_HOLD, "in 1 of 2 seeds")
    said = "in 1 of 2 seeds; cannot tell in 1 (seed 7: noise)"
    assert decide(phases.STUDY, 0, [shown, unclear]) == (CANNOT_TELL, said)


def test_accuracies_on_the_plateau_at_the_end_and_at_a_step_are_those_that_decide():
    runs = [finished([0.0, 0.0, 0.01 + x, 0.02 + x, 0.9 + x], final_attribute_accuracy=0.9 + x) for x in (0.0, 0.001)]
    low, knows = phases.STUDY.claims["paper"][1:3]
    verdict = low.decide(runs)
    assert (verdict.answer, verdict.value) == (HOLDS, pytest.approx(np.mean([0.03 / 3, 0.032 / 3])))
    verdict = knows.decide(runs)
    assert (verdict.answer, verdict.value) == (HOLDS, pytest.approx(0.9005))
    at = phases._published_accuracy(250, 0.1, runs)
    assert (at.answer, at.value) == (HOLDS, pytest.approx(np.mean([0.015, 0.016])))
    assert phases._published_accuracy(401, 0.1, runs).here == "every run stopped before step 401"


def test_intervals_of_accuracies_end_at_0_and_1():
    runs = [finished(final_attribute_accuracy=accuracy) for accuracy in (0.8, 1.0)]
    verdict = phases.STUDY.claims["paper"][2].decide(runs)
    assert verdict.interval == (0.0, 1.0)
    assert verdict.here == "0.9 [0, 1]"


def test_one_seed_has_no_interval_and_none_no_accuracy():
    assert decide(phases.STUDY, 2, [finished(final_attribute_accuracy=0.875, plateau_end_interpolated=150.0)]) == (
        CANNOT_TELL,
        "0.875 (no interval: too few seeds)",
    )
    stops = finished(RISES, plateau_start=None, plateau_end_interpolated=None, plateau_end_status="not reached")
    assert decide(phases.STUDY, 1, [stops]) == (CANNOT_TELL, "seed 0: stopped at step 400 before its plateau began")
    between = finished(RISES, plateau_start=110, plateau_end_interpolated=120.0)
    assert decide(phases.STUDY, 1, [between]) == (CANNOT_TELL, "seed 0: no evaluation on its plateau")
    assert decide(phases.STUDY, 1, []) == decide(phases.STUDY, 2, []) == (CANNOT_TELL, "there are no runs")


def power_run(exponent, end, size=10, seed=0, losses=(9.0, 5.0, 4.0, 3.0, 1.0), budgets=(200, 400), ends=True):
    labels = {"arm": f"{exponent}", "size": size, "exponent": exponent, "budgets": budgets, "ends": ends}
    status = "reached" if end else "not reached"
    measures = {"plateau_end_interpolated": end, "plateau_end_status": status, "final_attribute_loss": losses[-1]}
    measures |= {"plateau_end_earliest": end or 800.0, "plateau_end_latest": end}
    return finished(loss=losses, seed=seed, labels=labels, **measures)


def test_the_evidence_of_the_power_law_by_size_exponent_and_budget():
    runs = [
        power_run(0.6, 70.0, seed=0), power_run(0.6, None, seed=1, losses=(9.0, 5.0, 2.0, 2.0, 2.0)),
        power_run(0.0, 90.0, losses=(9.0, 6.0, 3.5, 3.0, 0.5)), power_run(0.0, 95.0, size=20, budgets=(300,), ends=False),
    ]  # fmt: skip
    evidence = power_law.Evidence(runs)
    assert (evidence.sizes, evidence.exponents, evidence.budgets) == ([10, 20], [0.0, 0.6], [200, 300, 400])
    assert evidence.plateau_ends(10, 0.6) == [70.0, None]
    assert evidence.plateau_ends(20, 0.0) == []  # a run of another length
    assert evidence.losses(10, 0.6, 200) == [4.0, 2.0]
    assert evidence.losses(10, 0.6, 300) == []
    assert evidence.losses(20, 0.0, 300) == [3.0]
    assert power_law.loss_at(runs[0], 150) == 4.5
    assert evidence.best_by_loss(10, 200) == 0.6  # 3 on average, against 3.5
    assert evidence.best_by_loss(10, 400) == 0.0
    assert evidence.good_by_loss(10, 200) == (0.6, 0.6)
    assert evidence.end_bounds(10, 0.6) == (235.0, math.inf)  # 70, and step 400 or later
    assert evidence.end_bounds(10, 0.0) == (90.0, 90.0)
    assert evidence.end_bounds(20, 0.0) is None
    assert evidence.best_by_loss(20, 300) is None  # one of two exponents
    assert power_law.Evidence(runs[:1]).best_by_loss(10, 200) is None  # nothing to compare


def test_mild_unevenness_counts_by_the_geometric_mean_of_both_exponents_in_pairs():
    first, second = power_law.MILD
    runs = [
        power_run(exponent, end, seed=seed)
        for seed in (0, 1)
        for exponent, end in ((0.0, 400.0 + seed), (first, 50.0), (second, 200.0))
    ]
    runs += [power_run(0.0, 400.0, seed=3), power_run(first, 50.0, seed=3)]
    runs += [power_run(0.0, 400.0, seed=5), power_run(second, 50.0, seed=5)]
    verdict = power_law._shortens(power_law.Evidence(runs))
    assert verdict.answer == HOLDS
    assert verdict.value == pytest.approx(np.mean([math.log(100 / 400), math.log(100 / 401)]))
    assert verdict.here.endswith("over 2 pairs")
    for late in ((first, second), (second, first)):
        pair = [power_run(0.0, 400.0, seed=2), power_run(late[0], None, seed=2), power_run(late[1], 50.0, seed=2)]
        verdict = power_law._shortens(power_law.Evidence([*runs, *pair]))
        assert verdict.answer == CANNOT_TELL
        assert verdict.value == pytest.approx(np.mean([math.log(100 / 400), math.log(100 / 401), math.log(200 / 400)]))
        assert verdict.here.endswith("∞] over 3 pairs, 1 of them known within bounds")


def test_a_plateau_whose_length_depends_on_where_it_started_decides_nothing():
    def run(low, high):
        made = finished(RISES)  # its plateau ends at step 300, so it must last 75 steps
        made.measures.update(plateau_start_low=low, plateau_start_high=high)
        return made

    assert phases.three_phases(run(100, 225)) is True
    assert phases.three_phases(run(226, 260)) is False
    unclear = run(200, 240)
    assert phases.three_phases(unclear) is None
    assert phases.why_unclear(unclear) == "its plateau starts anywhere between steps 200 and 240"
    verdict = phases._three_phases([run(100, 120), unclear])
    assert verdict.answer == CANNOT_TELL
    assert "between steps 200 and 240" in verdict.here
