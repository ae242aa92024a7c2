"""Estimates of a grid's time, and a trial that is interrupted."""

import signal
from pathlib import Path

import pytest

from moefacts.config.presets import compose
from moefacts.experiments.engine import estimates
from moefacts.experiments.engine.grid import TO_DO, Plan, PlannedRun
from moefacts.experiments.engine.study import GridRun
from moefacts.training.interrupt import Interrupted
from tests.experiments.engine.tiny_study import STUDY, TINY_RUN


def planned(*overrides: str) -> PlannedRun:
    return PlannedRun(GridRun(overrides), compose([*TINY_RUN, *overrides]), Path("nowhere", *overrides), TO_DO)


def test_models_of_one_preset_and_different_sizes_are_timed_apart(monkeypatch):
    runs = [planned("model.d_model=8"), planned("model.d_model=16"), planned("model.d_model=16", "seed=1")]
    tried = []

    def measured(config):
        tried.append(config.model.d_model)
        return estimates.Speed(50, config.model.d_model, 0.0, "made up")

    monkeypatch.setattr(estimates, "_measured_speed", measured)
    found = estimates.estimate(Plan(STUDY, "laptop", (), Path("nowhere"), tuple(runs)), runs, 1, {})
    assert tried == [8, 16]
    narrow, wide, other_seed = (seconds for _, seconds in found.seconds)
    assert wide == other_seed > 1.9 * narrow
    assert len(found.sources) == 2


EVALUATION = ["evaluation.interval=10", "evaluation.interval_early=40", "evaluation.interval_after_plateau=20"]


@pytest.mark.parametrize(
    ("overrides", "evaluations"),
    [
        # 400 steps, all of them plateau: 200 / 40 + 200 / 10 of seen people, as many of unseen ones, and three at first and last
        (["training.stop_after_plateau=20"], 2 * (5 + 20) + 3),
        (["training.stop_after_plateau=20", "evaluation.interval_unseen=1000000"], 5 + 20 + 3),
        # a plateau of 100 steps, then every 20
        (["evaluation.interval_unseen=200"], 50 / 40 + 5 + 15 + 400 / 200 + 3),
    ],
)
def test_evaluations_are_counted_as_a_run_spaces_them(overrides, evaluations):
    run = planned("training.steps=400", *EVALUATION, *overrides)
    assert estimates._evaluations(run) == pytest.approx(evaluations, abs=0.01)
    speed = estimates.Speed(50, 0.0, 2.0, "made up")
    expected = evaluations * run.config.evaluation.biographies * 2.0 + estimates._SECONDS_TO_START
    assert speed.seconds(run) == pytest.approx(expected, rel=1e-3)


def test_only_the_runs_that_are_left_count():
    runs = [planned("seed=1"), planned("seed=2")]
    whole = estimates.Estimate([(run, 5.0) for run in runs], [(run, 7.0) for run in runs], 1, [])
    left = whole.of_runs([runs[1].path])
    assert (left.total_seconds, left.total_tokens) == (5.0, 7.0)


def test_a_trial_that_is_interrupted_claims_no_saved_state(monkeypatch):
    def interrupted(config):
        raise Interrupted(signal.SIGTERM, 3)

    monkeypatch.setattr("moefacts.experiments.tasks.train.execute", interrupted)
    with pytest.raises(Interrupted, match="before anything was started") as raised:
        estimates._measured_speed(compose(list(TINY_RUN)))
    assert raised.value.exit_code == 143
