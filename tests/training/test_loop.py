import contextlib
import itertools
import json
import math
import shutil

import pytest
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file

from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.runs.records import read_metrics
from moefacts.training.checkpoint import checkpoint_schedule
from moefacts.training.interrupt import Interrupted
from moefacts.training.loop import Trainer
from moefacts.training.run_directory import RunDirectory

GOLDEN_LOSSES = [6.0647359, 5.7373085]


def records(run):
    """Everything that was logged except how fast it went."""
    lines = read_metrics(run / layout.METRICS)
    return [{k: v for k, v in record.items() if not k.startswith("throughput/")} for record in lines]


def weights(run):
    folder = layout.checkpoint_folder(run, layout.checkpoint_steps(run)[-1])
    return load_file(folder / "model.safetensors")


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_golden_first_steps(make_config, tmp_path):
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


class StopAt:
    """Stands in for a signal that comes during a given step."""

    def __init__(self, trainer, step):
        self.trainer, self.step = trainer, step

    @property
    def signal_number(self):
        return 15 if self.trainer.state.step == self.step else None


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
def test_a_killed_run_loses_only_what_came_after_its_last_checkpoint(
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


def test_gradient_accumulation_changes_nothing_but_rounding(make_config, tmp_path):
    runs = [
        execute(
            make_config(f"run.dir={tmp_path}/{n}", f"training.gradient_accumulation={n}", "training.log_interval=1")
        )
        for n in (1, 4)
    ]
    for one, other in zip(*map(records, runs), strict=True):
        assert one.keys() == other.keys()
        assert all(math.isclose(one[key], other[key], rel_tol=2e-3, abs_tol=2e-3) for key in one)


@pytest.mark.parametrize(
    ("model", "compiled"), [("dense_laptop", {"Transformer", "padded_losses"}), ("moe_laptop", {"Transformer"})]
)
def test_what_a_compiled_run_calls_is_what_was_compiled(make_config, tmp_path, monkeypatch, model, compiled):
    """Compilation itself is left out here, so that both kinds of model take a second; the next test has it."""
    called = set()

    def compile_by_name(function, **_):
        def run(*arguments, **options):
            called.add(getattr(function, "__name__", type(function).__name__))
            return function(*arguments, **options)

        return run

    monkeypatch.setattr(torch, "compile", compile_by_name)
    execute(make_config(f"run.dir={tmp_path}/run", f"model={model}", "training.compile=true", "training.steps=2"))
    assert called == compiled


@pytest.mark.skipif(shutil.which("g++") is None, reason="the compiler writes C++ on a CPU")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor", "ignore::UserWarning:torch")
def test_a_compiled_run_has_the_losses_of_the_eager_one(make_config, tmp_path):
    """The real compiler, over forward, backward and the losses; graphs are counted, so that nothing fell back."""
    common = ("training.log_interval=1", "training.steps=3", "evaluation.interval=3", "checkpoints.interval=3")
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    runs = []
    for flag in ("false", "true"):
        assert not torch._dynamo.utils.counters["stats"]["unique_graphs"]
        runs.append(execute(make_config(f"run.dir={tmp_path}/{flag}", f"training.compile={flag}", *common)))
    counters = torch._dynamo.utils.counters
    torch.compiler.reset()
    assert counters["stats"]["unique_graphs"] >= 2  # the model's and the loss's, for each width of a batch
    assert not counters["graph_break"]
    assert counters["inductor"]
    for one, other in zip(*map(records, runs), strict=True):
        keys = one.keys() - {"train/padding_share"}  # compiled batches have few widths, and so more padding
        assert {key: other[key] for key in keys} == pytest.approx({key: one[key] for key in keys}, rel=1e-4, abs=1e-5)


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


EVALUATIONS = ["evaluation.interval=2", "evaluation.interval_early=6", "evaluation.interval_unseen=8"]


def evaluated(run, cohort):
    return [record["step"] for record in records(run) if f"eval/{cohort}/attribute_loss" in record]


@pytest.mark.parametrize(
    ("near", "seen"),
    [(0.0, [0, 6, 12]), (math.inf, [0, 6, 8, 10, 12])],  # the first loss of a training batch is logged at step 5
)
def test_evaluations_are_rare_until_training_batches_say_that_the_end_is_near(
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
        (1.5, 1.05, True),  # its end: the plateau's start was not evaluated yet
        (1.05, 1.03, False),  # on the plateau
        (1.05, 1.0, True),  # its end is near
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


@pytest.mark.parametrize("setting", ["interval_early=3", "interval_early=0", "interval_unseen=1"])
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


QUICK = ["population.size=2", "training.steps=400", "training.learning_rate=1e-2"]


def test_a_run_can_stop_a_margin_after_its_plateau(make_config, tmp_path):
    manifest = read_manifest(execute(make_config(f"run.dir={tmp_path}/run", *QUICK, "training.stop_after_plateau=3")))
    assert manifest["state"] == "finished"
    assert manifest["last_step"] == manifest["plateau_end"] + 3 < 400


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


def test_a_recurrent_model_learns_people_from_a_loss_that_falls(make_config, tmp_path):
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


def test_the_manifest_tells_what_is_needed_to_repeat_the_run(make_config, finished_run):
    manifest = read_manifest(finished_run)
    assert manifest["state"] == "finished"
    assert manifest["versions"]["torch"] == torch.__version__
    parameters = manifest["parameters"]
    assert parameters["total"] == sum(tensor.numel() for tensor in weights(finished_run).values())
    assert parameters["total"] > parameters["non_embedding"] > 0
    assert manifest["population_fingerprint"] == prepare(make_config()).batcher.population.fingerprint
    assert manifest["command"].startswith("moefacts train scale=laptop model=dense_laptop population.size=48")


def test_a_run_of_milliseconds_took_time(make_config, tmp_path, monkeypatch):
    """A dry run divides by what finished runs took."""
    ticks = itertools.count()
    monkeypatch.setattr("moefacts.training.loop.time.monotonic", lambda: 1e-4 * next(ticks))
    run = execute(make_config(f"run.dir={tmp_path}/run", "training.steps=2"))
    assert read_manifest(run)["wall_seconds"] > 0


def test_a_finished_run_is_left_alone(make_config, finished_run, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    execute(make_config(f"run.dir={finished_run}"))
    assert "already finished" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    assert {k: v for k, v in before.items() if k.name != ".lock"} == {
        k: v for k, v in after.items() if k.name != ".lock"
    }


def test_every_line_of_the_metrics_is_json_with_a_step(finished_run):
    lines = (finished_run / layout.METRICS).read_text().splitlines()
    assert len(lines) >= 4
    assert all(type(json.loads(line)["step"]) is int for line in lines)


def test_one_process_a_run(make_config, tmp_path):
    config = make_config(f"run.dir={tmp_path}/run")
    with (
        RunDirectory(tmp_path / "run", config),
        pytest.raises(UserError, match="being trained by another process"),
    ):
        execute(config)


@pytest.mark.parametrize("diverges", [False, True])
def test_the_lock_is_held_while_a_run_trains_and_free_when_it_has_ended_or_failed(
    make_config, tmp_path, monkeypatch, diverges
):
    config = make_config(f"run.dir={tmp_path}/run", "training.steps=2")
    step, held = Trainer._step, []

    def looked_at(self, sinks, clock):
        with pytest.raises(Timeout):
            FileLock(self.run.path / layout.LOCK, blocking=False).acquire()
        held.append(self.run)  # kept: a lock that nobody refers to any more would be let go
        if diverges:
            raise UserError("training diverged")
        step(self, sinks, clock)

    monkeypatch.setattr(Trainer, "_step", looked_at)
    with pytest.raises(UserError, match="diverged") if diverges else contextlib.nullcontext():
        execute(config)
    assert len(held) == (1 if diverges else 2)
    with FileLock(tmp_path / "run" / layout.LOCK, blocking=False):
        pass


def test_what_a_killed_process_left_half_written_is_removed(make_config, tmp_path):
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / ".step_00000004.tmp").mkdir(parents=True)
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".manifest.json.1.tmp").write_text("{")
    run = execute(make_config(f"run.dir={tmp_path}/run"))
    assert not list(run.rglob("*.tmp"))
