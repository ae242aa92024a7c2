"""Evaluations and checkpoints happen at the steps that the configuration and the plateau demand."""

import itertools
import math

import pytest

from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.training.checkpoint import checkpoint_schedule
from moefacts.training.interrupt import Interrupted
from moefacts.training.loop import Trainer
from moefacts.training.run_directory import RunDirectory
from tests.training.comparing import StopAt, records

EVALUATIONS = ["evaluation.interval=2", "evaluation.interval_early=6", "evaluation.interval_unseen=8"]


def evaluated(run, cohort):
    return [record["step"] for record in records(run) if f"eval/{cohort}/attribute_loss" in record]


@pytest.mark.parametrize(
    ("near", "seen"),
    [(0.0, [0, 6, 12]), (math.inf, [0, 6, 8, 10, 12])],  # the first loss of a training batch is logged at step 5
)
def test_evaluations_are_rare_until_training_batches_show_that_the_end_is_near(
    make_config, tmp_path, monkeypatch, near, seen
):
    for mark in ("PLATEAU_CEILING", "_NEAR_THE_END"):
        monkeypatch.setattr(f"moefacts.training.loop.{mark}", near)
    run = execute(make_config(f"run.dir={tmp_path}/run", "training.steps=12", *EVALUATIONS))
    assert evaluated(run, "seen") == seen
    assert evaluated(run, "unseen") == [step for step in seen if step % 8 == 0 or step == 12]


@pytest.mark.parametrize(
    ("evaluated", "training", "is_due"),
    [
        (1.5, 1.3, False),  # the first phase
        (1.5, 1.05, True),  # the end of the first phase, before the plateau's start has been evaluated
        (1.05, 1.03, False),  # on the plateau
        (1.05, 1.0, True),  # near the plateau's end
    ],
)
def test_evaluations_are_dense_where_the_plateau_starts_and_ends(make_config, tmp_path, evaluated, training, is_due):
    config = make_config(*EVALUATIONS)
    materials = prepare(config)
    trainer = Trainer(config, materials.model, materials.batcher, RunDirectory(tmp_path / "run", config))
    trainer.state.last_attribute_loss = evaluated * trainer.baseline
    trainer.state.running_attribute_loss = training * trainer.baseline
    assert trainer._evaluation_is_due(2) is is_due
    assert trainer._evaluation_is_due(6)


def test_a_resumed_run_evaluates_at_the_same_steps(make_config, tmp_path, monkeypatch):
    for mark in ("PLATEAU_CEILING", "_NEAR_THE_END"):
        monkeypatch.setattr(f"moefacts.training.loop.{mark}", math.inf)
    whole = execute(make_config(f"run.dir={tmp_path}/whole", *EVALUATIONS))
    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, m, stop, d: train(self, m, StopAt(self, 7), d))
    with pytest.raises(Interrupted):
        execute(make_config(f"run.dir={tmp_path}/stopped", *EVALUATIONS))
    monkeypatch.setattr(Trainer, "train", train)
    assert records(execute(make_config(f"run.dir={tmp_path}/stopped", *EVALUATIONS))) == records(whole)


@pytest.mark.parametrize("setting", ["interval_early=3", "interval_early=0", "interval_unseen=1", "interval_control=3"])
def test_intervals_that_miss_evaluations_are_refused(make_config, setting):
    with pytest.raises(UserError, match="positive multiple of evaluation.interval=2"):
        make_config("evaluation.interval=2", f"evaluation.{setting}")


def test_evaluations_and_checkpoints_come_on_schedule(finished_run):
    evaluated = [record["step"] for record in records(finished_run) if "eval/seen/attribute_loss" in record]
    assert evaluated == [0, 4, 8, 12]
    assert layout.checkpoint_steps(finished_run) == [0, 4, 8, 12]
    holds_optimizer = [
        step
        for step in (0, 4, 8, 12)
        if (layout.checkpoint_folder(finished_run, step) / "optimizer.safetensors").exists()
    ]
    assert holds_optimizer == [8, 12]


def test_the_checkpoint_schedule_is_that_of_the_study(make_config):
    config = make_config("checkpoints.interval=125", "checkpoints.interval_until=2000")
    schedule = sorted(checkpoint_schedule(config.checkpoints, 16000))
    assert schedule[:17] == list(range(0, 2001, 125))
    late = schedule[16:]
    assert len(late) == 33
    assert {b - a for a, b in itertools.pairwise(late)} <= {437, 438}
    assert schedule[-1] == 16000
