"""Training is reproducible and resumable bit for bit, stops by its rules, and learns."""

import math

import pytest
import torch

from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.training.interrupt import Interrupted
from moefacts.training.loop import Trainer
from tests.training.comparing import StopAt, records, same, weights

GOLDEN_LOSSES = [6.0647359, 5.7373085]


def test_the_first_losses_are_the_golden_ones(make_config, tmp_path):
    run = execute(make_config(f"run.dir={tmp_path}/run", "training.steps=2", "training.log_interval=1"))
    losses = [record["train/loss"] for record in records(run) if "train/loss" in record]
    assert losses == pytest.approx(GOLDEN_LOSSES, rel=1e-5)


def test_a_fresh_model_knows_nothing(make_config, finished_run):
    first = records(finished_run)[0]
    assert first["step"] == 0
    assert first["eval/seen/attribute_accuracy"] < 0.05
    assert first["eval/seen/attribute_loss"] > 3


def test_identical_configurations_give_identical_runs(make_config, finished_run, tmp_path):
    again = execute(make_config(f"run.dir={tmp_path}/again"))
    assert records(again) == records(finished_run)
    assert same(weights(again), weights(finished_run))


def test_another_seed_gives_another_run(make_config, finished_run, tmp_path):
    other = execute(make_config("seed=1", f"run.dir={tmp_path}/other"))
    assert records(other) != records(finished_run)


@pytest.mark.parametrize("stop_step", [3, 8, 11])
def test_a_resumed_run_equals_an_uninterrupted_one(make_config, finished_run, tmp_path, monkeypatch, stop_step):
    config = make_config(f"run.dir={tmp_path}/run")
    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, m, stop, d: train(self, m, StopAt(self, stop_step), d))
    with pytest.raises(Interrupted):
        execute(config)
    run = tmp_path / "run"
    assert read_manifest(run)["state"] == "interrupted"
    assert layout.checkpoint_steps(run)[-1] == stop_step
    monkeypatch.undo()
    execute(config)
    assert records(run) == records(finished_run)
    assert same(weights(run), weights(finished_run))
    assert layout.checkpoint_steps(run) == layout.checkpoint_steps(finished_run)


@pytest.mark.parametrize("torn", ['{"step": 10, "train/lo', '{"step": 10, "train/loss": 1.0}', ""])
def test_a_killed_run_loses_only_the_steps_after_its_last_checkpoint(
    make_config, finished_run, tmp_path, monkeypatch, torn
):
    config = make_config(f"run.dir={tmp_path}/run")
    step = Trainer._step

    def killed(self, sinks, clock):
        if self.state.step == 10:
            raise SystemExit(137)
        step(self, sinks, clock)

    monkeypatch.setattr(Trainer, "_step", killed)
    with pytest.raises(SystemExit):
        execute(config)
    with (tmp_path / "run" / layout.METRICS).open("a") as file:
        file.write(torn)
    monkeypatch.undo()
    assert layout.checkpoint_steps(tmp_path / "run")[-1] == 8
    execute(config)
    assert records(tmp_path / "run") == records(finished_run)
    assert same(weights(tmp_path / "run"), weights(finished_run))


def test_gradient_accumulation_changes_only_rounding(make_config, tmp_path):
    runs = [
        execute(
            make_config(f"run.dir={tmp_path}/{n}", f"training.gradient_accumulation={n}", "training.log_interval=1")
        )
        for n in (1, 4)
    ]
    for one, other in zip(*map(records, runs), strict=True):
        assert one.keys() == other.keys()
        assert all(math.isclose(one[key], other[key], rel_tol=2e-3, abs_tol=2e-3) for key in one)


def test_the_train_loss_is_the_mean_over_tokens_without_padding(make_config, tmp_path):
    config = make_config(f"run.dir={tmp_path}/run", "training.log_interval=1")
    materials = prepare(config)
    batch = materials.batcher.training_batch(0, config.training.batch_size)
    losses = torch.nn.functional.cross_entropy(
        materials.model(batch.inputs_BT).logits.flatten(0, 1), batch.targets_BT.flatten(), reduction="none"
    )
    expected = losses[batch.target_mask_BT.flatten()].mean().item()
    value_loss = losses[batch.attribute_BT[:, 1:].flatten() >= 0].sum().item() / (6 * config.training.batch_size)
    run = execute(config)
    first = next(record for record in records(run) if "train/loss" in record)
    assert first["train/loss"] == pytest.approx(expected, rel=1e-5)
    assert first["train/attribute_loss"] == pytest.approx(value_loss, rel=1e-5)


QUICK = ["population.size=2", "training.steps=400", "training.learning_rate=1e-2"]


def test_a_run_can_stop_a_margin_after_its_plateau(make_config, tmp_path):
    manifest = read_manifest(execute(make_config(f"run.dir={tmp_path}/run", *QUICK, "training.stop_after_plateau=3")))
    assert manifest["state"] == "finished"
    assert manifest["last_step"] == manifest["plateau_end"] + 3 < 400


def test_the_checkpoint_of_the_plateaus_end_is_kept_whatever_the_schedule(make_config, tmp_path, monkeypatch):
    """Also by a run that is stopped after it, which writes a checkpoint of its own and deletes that when it goes on."""
    config = make_config(
        f"run.dir={tmp_path}/run", *QUICK, "training.stop_after_plateau=9", "checkpoints.interval=1000",
        "checkpoints.interval_until=1000", "evaluation.interval=3",
    )  # fmt: skip
    is_done = Trainer._is_done
    with monkeypatch.context() as patched:

        def interrupted(self, step):
            if self.state.plateau_end is not None and step > self.state.plateau_end + 3:
                raise SystemExit(137)
            return is_done(self, step)

        patched.setattr(Trainer, "_is_done", interrupted)
        with pytest.raises(SystemExit):
            execute(config)
    execute(config)
    manifest = read_manifest(tmp_path / "run")
    end = manifest["plateau_end"]
    assert layout.checkpoint_steps(tmp_path / "run") == [0, end, end + 9]
    assert 0 < end < manifest["last_step"] < 400


def test_a_run_can_stop_at_an_accuracy(make_config, tmp_path):
    run = execute(make_config(f"run.dir={tmp_path}/run", *QUICK, "training.stop_at_accuracy=0.5"))
    accuracies = [record["eval/seen/attribute_accuracy"] for record in records(run) if "eval/seen/entropy" in record]
    assert read_manifest(run)["last_step"] < 400
    assert accuracies[-1] >= 0.5 > max(accuracies[:-1])


def test_sixteen_people_are_learned_completely(make_config, tmp_path):
    run = execute(
        make_config(
            f"run.dir={tmp_path}/run", "population.size=16", "population.held_out_templates=1", "model.num_layers=2", "model.d_model=64",
            "model.num_heads=4", "model.d_hidden=256", "training.steps=600", "training.batch_size=32",
            "training.stop_at_accuracy=1.0", "evaluation.biographies=160", "evaluation.interval=25",
            "evaluation.interval_after_plateau=25", "checkpoints.interval=1000",
        )
    )  # fmt: skip
    assert records(run)[-1]["eval/seen/attribute_accuracy"] == 1.0


def test_a_recurrent_model_learns_people(make_config, tmp_path):
    run = execute(
        make_config(
            f"run.dir={tmp_path}/run", "model=dense_laptop_recurrent", "population.size=4", "training.steps=300",
            "population.held_out_templates=1", "training.batch_size=16", "training.stop_at_accuracy=0.6",
            "evaluation.interval=20", "evaluation.interval_after_plateau=20", "checkpoints.interval=1000",
        )
    )  # fmt: skip
    losses = [record["train/loss"] for record in records(run) if "train/loss" in record]
    assert losses[-1] < losses[0] / 4
    assert records(run)[-1]["eval/seen/attribute_accuracy"] > 0.5
