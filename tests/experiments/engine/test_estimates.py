"""Estimates of a grid's time, from finished runs or from trials."""

import copy
import json
import signal
import sys
from pathlib import Path

import pytest

from moefacts.config.presets import compose
from moefacts.experiments.engine import estimates
from moefacts.experiments.engine.grid import TO_DO, Plan, PlannedRun
from moefacts.experiments.engine.study import GridRun
from moefacts.runs.manifest import FINISHED
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
        # 400 steps, all on the plateau: 200 / 40 + 200 / 10 evaluations of seen and of unseen people, and 3 at both ends
        (["training.stop_after_plateau=20"], 2 * (5 + 20) + 3),
        (["training.stop_after_plateau=20", "evaluation.interval_unseen=1000000"], 5 + 20 + 3),
        # a plateau of 100 steps, then an evaluation every 20 steps
        (["evaluation.interval_unseen=200"], 50 / 40 + 5 + 15 + 400 / 200 + 3),
        # and the control: at least at both ends
        (["evaluation.interval_unseen=200", "evaluation.interval_control=100"], 50 / 40 + 5 + 15 + 2 + 3 + 4 + 2),
    ],
)
def test_evaluations_are_counted_as_a_run_spaces_them(overrides, evaluations):
    run = planned("training.steps=400", *EVALUATION, *overrides)
    assert estimates._evaluations(run) == pytest.approx(evaluations, abs=0.01)
    speed = estimates.Speed(50, 0.0, 2.0, "made up")
    expected = evaluations * run.config.evaluation.biographies * 2.0 + estimates._SECONDS_TO_START
    assert speed.seconds(run) == pytest.approx(expected, rel=1e-3)


def test_patched_attention_takes_longer_and_its_finished_runs_say_nothing_about_the_rest(tmp_path, monkeypatch):
    speed = estimates.Speed(50, 1.0, 2.0, "made up")
    plain, patched = planned("seed=1"), planned("seed=1", "patching.reference_step=0")
    start = estimates._SECONDS_TO_START
    assert speed.seconds(patched) - start == pytest.approx(estimates._PATCHED * (speed.seconds(plain) - start))
    manifest = {"tokens": 30_000, "wall_seconds": 10.0, "last_step": 50}
    twin = finished(tmp_path, "twin", manifest, "patching.reference_step=0")
    monkeypatch.setattr(estimates, "_measured_speed", lambda config: speed)
    to_do = planned("seed=2")
    plan = Plan(STUDY, "laptop", (), tmp_path, (twin, to_do))
    assert estimates.estimate(plan, [to_do], 1, {}).sources[0].endswith(": made up")


def test_an_estimate_of_some_runs_counts_only_these():
    runs = [planned("seed=1"), planned("seed=2")]
    whole = estimates.Estimate([(run, 5.0) for run in runs], [(run, 7.0) for run in runs], 1, [])
    left = whole.of_runs([runs[1]])
    assert (left.total_seconds, left.total_tokens) == (5.0, 7.0)


def test_a_trial_that_is_interrupted_claims_no_saved_state(monkeypatch):
    def interrupted(config):
        raise Interrupted(signal.SIGTERM, 3)

    monkeypatch.setattr("moefacts.experiments.tasks.train.execute", interrupted)
    with pytest.raises(Interrupted, match="before anything was started") as raised:
        estimates._measured_speed(compose(list(TINY_RUN)))
    assert raised.value.exit_code == 143


def finished(tmp_path, name, manifest, *overrides):
    run = PlannedRun(GridRun(overrides), compose([*TINY_RUN, *overrides]), tmp_path / name, FINISHED)
    run.path.mkdir()
    (run.path / "manifest.json").write_text(json.dumps({"state": "finished", "versions": {"moefacts": "0"}} | manifest))
    return run


def test_the_speed_is_that_of_finished_runs_of_the_same_model(tmp_path):
    """It is their total time over their total tokens, with 8 biographies per step. Other models' runs do not count."""
    runs = [
        finished(tmp_path, "a", {"tokens": 30_000, "wall_seconds": 10.0, "last_step": 50}),
        finished(tmp_path, "b", {"tokens": 10_000, "wall_seconds": 10.0, "last_step": 50}, "seed=1"),
        finished(tmp_path, "c", {"tokens": 1, "wall_seconds": 999.0, "last_step": 1}, "model.d_model=16"),
    ]
    to_do = planned("seed=2")
    plan = Plan(STUDY, "laptop", (), tmp_path, (*runs, to_do))
    found = estimates.estimate(plan, [to_do], 3, {})
    tokens = 6 * 8 * 40_000 / (100 * 8)  # six steps of eight biographies of fifty tokens each
    assert found.tokens == [(to_do, pytest.approx(tokens))]
    assert found.seconds == [(to_do, pytest.approx(tokens * 20 / 40_000 + estimates._SECONDS_TO_START))]
    model = "dense_laptop (attention, 1 layers of width 32)"
    assert found.sources == [f"{model}: 2,000 tokens/s, evaluations included, in 2 finished runs"]
    assert found.jobs == 1  # no more than there are runs


@pytest.mark.parametrize("manifest", [{}, {"tokens": 10}, {"wall_seconds": 10.0}, {"tokens": 0, "wall_seconds": 0.0}])
def test_a_model_is_tried_if_its_finished_runs_lack_their_tokens_or_time(tmp_path, monkeypatch, manifest):
    slow = estimates.Speed(50, 1.0, 0.0, "tried")
    monkeypatch.setattr(estimates, "_measured_speed", lambda config: slow)
    to_do = planned("seed=2")
    plan = Plan(STUDY, "laptop", (), tmp_path, (finished(tmp_path, "a", manifest), to_do))
    assert estimates.estimate(plan, [to_do], 1, {}).sources[0].endswith(": tried")


def test_a_trial_for_one_study_serves_the_next(monkeypatch):
    monkeypatch.setattr(estimates, "_measured_speed", lambda config: estimates.Speed(50, 1.0, 0.0, "tried"))
    run, tried = planned("model=moe_laptop"), {}
    plan = Plan(STUDY, "laptop", (), Path("nowhere"), (run,))
    first = estimates.estimate(plan, [run], 1, tried)
    assert list(tried) == ["moe_laptop (attention, 1 layers of width 32, 8 experts of width 128)"]
    monkeypatch.setattr(estimates, "_measured_speed", None)
    assert estimates.estimate(plan, [run], 1, tried) == first


def test_time_is_shared_between_jobs_but_never_less_than_the_longest_run():
    runs = [planned(f"seed={seed}") for seed in range(3)]
    pairs = list(zip(runs, (10.0, 2.0, 3.0), strict=True))
    alone, shared, enough = (estimates.Estimate(pairs, pairs, jobs, []) for jobs in (1, 2, 3))
    assert (alone.total_seconds, shared.total_seconds, enough.total_seconds) == (15.0, 10.0, 10.0)
    assert alone.total_tokens == 15.0
    left = alone.of_runs([runs[2], runs[0]])
    assert (left.seconds, left.tokens) == ([pairs[0], pairs[2]], [pairs[0], pairs[2]])
    assert estimates.Estimate([], [], 1, []).total_seconds == 0.0


@pytest.fixture
def trials(monkeypatch):
    """A function that replaces training: trials report the given time and speeds, and their configs are recorded."""
    asked = []

    def pretend(wall, speeds):
        def execute(trial):
            asked.append(copy.deepcopy(trial))
            print("progress", file=sys.stderr)
            path = Path(trial.run.root) / "run"
            path.mkdir()
            tokens = trial.training.steps * trial.training.batch_size * 40
            manifest = {"state": "finished", "versions": {"moefacts": "0"}, "wall_seconds": wall, "tokens": tokens}
            (path / "manifest.json").write_text(json.dumps(manifest))
            records = [{"step": 0, "eval/seen/attribute_loss": 1.0}]
            records += [{"step": n, "throughput/tokens_per_second": speed} for n, speed in enumerate(speeds, 1)]
            (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
            return path

        monkeypatch.setattr("moefacts.experiments.tasks.train.execute", execute)
        return asked

    return pretend


VARIED = (
    "training.gradient_accumulation=2", "training.stop_after_plateau=5", "training.stop_at_accuracy=0.5",
    "patching.reference_step=4", "evaluation.interval_early=6", "evaluation.interval_unseen=9",
    "evaluation.interval_control=6", "wandb.mode=offline",
)  # fmt: skip


def test_a_slow_model_is_tried_for_two_steps_twice_which_changes_nothing_and_leaves_nothing(trials, capfd):
    asked = trials(wall=30.0, speeds=[1.0, 20.0, 40.0])
    config = compose([*TINY_RUN, *VARIED])
    before = copy.deepcopy(config)
    speed = estimates._measured_speed(config)
    assert config == before
    assert capfd.readouterr().err == ""
    trial, second = asked
    assert (second.training.steps, second.training.batch_size, second.evaluation.biographies) == (2, 16, 8)
    assert not Path(trial.run.root).exists()
    training, evaluation = trial.training, trial.evaluation
    assert (training.steps, training.batch_size, training.gradient_accumulation, training.log_interval) == (2, 4, 1, 1)
    assert (training.learning_rate, training.final_learning_rate) == (0.0, 0.0)
    assert (training.stop_after_plateau, training.stop_at_accuracy) == (None, None)
    assert (evaluation.biographies, evaluation.interval, evaluation.interval_after_plateau) == (8, 2, 2)
    assert (evaluation.interval_early, evaluation.interval_unseen, evaluation.interval_control) == (None, None, None)
    assert trial.patching.is_on is False
    assert trial.wandb.mode == "disabled"
    # The first step warms up and is left out. With the other steps' 30 tokens per second, the 16 biographies of 40
    # tokens each take four times as long as 4, so nothing but tokens costs time. 1,280 tokens took 42.7 seconds, more
    # than the whole trial, so nothing is left for evaluations.
    assert (speed.tokens_per_biography, speed.seconds_per_token) == (40, pytest.approx(1 / 30))
    assert (speed.seconds_per_step, speed.seconds_per_evaluation) == (0.0, 0.0)
    assert speed.source == "0 s a step and 1.3 s a biography in two trials"


def test_what_a_step_costs_whatever_its_batch_is_not_counted_per_biography():
    """Of a mixture with many experts, whose update takes long, 4 biographies say little about 32."""
    few = estimates.Speed(40, (10 + 4 * 0.5) / (4 * 40), 1.0, "4 biographies")
    many = estimates.Speed(40, (10 + 16 * 0.5) / (16 * 40), 2.0, "16 biographies")
    speed = estimates._with_cost_of_a_step(few, many)
    assert (speed.seconds_per_step, speed.seconds_per_token) == (pytest.approx(10), pytest.approx(0.5 / 40))
    run = planned("training.steps=400", "evaluation.biographies=2")
    evaluating = estimates._evaluations(run) * 2 * 2.0
    training = 400 * (10 + run.config.training.batch_size * 0.5)
    assert speed.seconds(run) == pytest.approx(training + evaluating + estimates._SECONDS_TO_START)


@pytest.mark.parametrize(("with_few", "with_many"), [(3.0, 2.0), (1.0, 8.0)])
def test_no_cost_is_negative_however_noisy_the_trials(with_few, with_many):
    trials = [estimates.Speed(40, s / (n * 40), 0.0, "") for s, n in ((with_few, 4), (with_many, 16))]
    speed = estimates._with_cost_of_a_step(*trials)
    assert min(speed.seconds_per_step, speed.seconds_per_token) >= 0.0
    assert speed.seconds_per_step + 16 * 40 * speed.seconds_per_token == pytest.approx(with_many)


def test_a_quick_model_is_tried_again_as_it_will_be_trained(trials):
    asked = trials(wall=1.9, speeds=[5000.0])
    speed = estimates._measured_speed(compose([*TINY_RUN, "evaluation.biographies=24"]))
    first, longer = asked
    assert (first.training.steps, first.training.batch_size, first.evaluation.biographies) == (2, 4, 8)
    assert (longer.training.steps, longer.training.batch_size, longer.evaluation.biographies) == (8, 8, 24)
    assert speed.source == "5,000 tokens/s in a trial of 8 steps of 8 biographies"
    assert speed.seconds_per_evaluation == pytest.approx((1.9 - 2560 / 5000) / (4 * 24))


def test_evaluations_cost_nothing_if_training_took_all_the_time_of_a_trial(trials):
    trials(wall=2.0, speeds=[10.0])
    assert estimates._measured_speed(compose(list(TINY_RUN))).seconds_per_evaluation == 0.0
