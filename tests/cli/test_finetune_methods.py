"""``moefacts finetune`` with methods that change what a checkpoint holds."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

from moefacts.cli import app as cli
from moefacts.experiments.tasks.export import export_run
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.probe import probe_run
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.reader import read_run
from moefacts.training.checkpoint import MODEL
from tests.conftest import tiny_config
from tests.training.finetuning.started import logits

LORA = ("training.method=lora", "method.rank=2", "method.alpha=4", "method.targets=[attention,mlp]")
SHORT = ("training.steps=4", "training.learning_rate=0.01", "evaluation.also_at=[2]", "checkpoints.interval=2")
MIXTURE = (
    "model=moe_laptop", "model.num_layers=2", "model.moe.num_experts=4", "model.moe.d_expert=16", "model.activation=swiglu",
)  # fmt: skip


def moefacts(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["moefacts", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


def stored(run, step):
    return load_file(layout.checkpoint_folder(run, step) / MODEL)


def resumed_from(run, step, monkeypatch):
    """Resume a finished run from ``step`` as if it had been stopped there."""
    for later in layout.checkpoint_steps(run):
        if later > step:
            shutil.rmtree(layout.checkpoint_folder(run, later))
    manifest = json.loads((run / layout.MANIFEST).read_text()) | {"state": "interrupted"}
    (run / layout.MANIFEST).write_text(json.dumps(manifest))
    moefacts(monkeypatch, "train", "--resume", run)


@pytest.fixture(scope="module")
def mixture_run(tmp_path_factory):
    return execute(tiny_config(*MIXTURE, "training.steps=6", f"run.dir={tmp_path_factory.mktemp('mixture')}/run"))


ADDING = "training.method=new_experts"
METHODS = {
    "lora": LORA,
    "ewc": ("training.method=ewc", "training.start_penalty=1", "method.cohort=seen", "method.batches=2"),
    "sparse_memory": ("training.method=sparse_memory", "method.cohort=seen", "method.batches=2", "method.slots_per_token=4", "method.num_slots=9"),
    "self_distillation": ("training.method=self_distillation", "method.cohort=unseen", "method.distillation=1"),
    "esft": ("training.method=esft", "method.batches=1", "method.relevance=gate", "method.expert_share=0.3"),
    "new_experts": (ADDING, "model.moe.num_added=1"),
    "self_replay": ("sampling.kind=replay", "sampling.replay_weight=1", "sampling.replay_values=model"),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_it_resumes_bit_for_bit_although_the_other_run_is_gone(
    method, finished_run, mixture_run, tmp_path, monkeypatch
):
    source = tmp_path / "source"
    shutil.copytree(mixture_run if method in ("esft", "new_experts") else finished_run, source)
    run = tmp_path / "run"
    moefacts(monkeypatch, "finetune", source, *SHORT, *METHODS[method], f"run.dir={run}")
    whole = stored(run, 4)
    assert json.loads((run / layout.MANIFEST).read_text())["trained_parameters"] > 0
    shutil.rmtree(source)
    resumed_from(run, 2, monkeypatch)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in stored(run, 4).items())


def test_who_reads_a_lora_run_sees_plain_weights_and_another_run_can_start_from_them(
    finished_run, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    moefacts(monkeypatch, "finetune", finished_run, *SHORT, *LORA, f"run.dir={run}")
    assert any("lora_A" in name for name in stored(run, 4))
    _, first = load_run(run, 0)
    _, before = load_run(finished_run)
    _, after = load_run(run)
    batch = before.batcher.training_batch(0, 4)
    assert torch.equal(logits(first.model, batch), logits(before.model, batch))
    assert not torch.allclose(logits(after.model, batch), logits(before.model, batch))
    assert {name for name, _ in after.model.named_parameters()} == {name for name, _ in before.model.named_parameters()}
    export_run(run, tmp_path / "exported")
    moefacts(monkeypatch, "ask", run, after.batcher.population.full_name(0))
    assert "restored_weights" in probe_run(read_run(run))
    again = tmp_path / "again"
    moefacts(monkeypatch, "finetune", run, "training.steps=1", f"run.dir={again}")
    assert not any("lora_A" in name for name in stored(again, 0))  # it chooses its method anew
    _, second = load_run(again, 0)
    assert torch.equal(logits(second.model, batch), logits(after.model, batch))


def test_new_experts_start_from_the_mixture_and_not_twice(mixture_run, tmp_path, monkeypatch, fails):
    run = tmp_path / "run"
    moefacts(monkeypatch, "finetune", mixture_run, *SHORT, *METHODS["new_experts"], f"run.dir={run}")
    _, before = load_run(mixture_run)
    _, first = load_run(run, 0)
    batch = before.batcher.training_batch(0, 4)
    assert torch.equal(logits(first.model, batch), logits(before.model, batch))
    assert "no target has experts with gates of their own" in fails("export", run, "--out", tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
    moefacts(monkeypatch, "ask", run, before.batcher.population.full_name(0))
    assert "restored_weights" in probe_run(read_run(run))
    assert "has experts that were added before" in fails("finetune", run, ADDING, "model.moe.num_added=2")
    assert "does not fit the model" in fails("finetune", mixture_run, "model.moe.num_added=1")


def test_replay_of_what_the_model_says_is_recorded_with_how_much_of_it_is_true(finished_run, tmp_path, monkeypatch):
    run, true = tmp_path / "run", tmp_path / "true"
    moefacts(monkeypatch, "finetune", finished_run, *SHORT, *METHODS["self_replay"], f"run.dir={run}")
    moefacts(monkeypatch, "finetune", finished_run, *SHORT, *METHODS["self_replay"][:2], f"run.dir={true}")
    assert 0 < json.loads((run / layout.MANIFEST).read_text())["replay_accuracy"] < 0.9
    assert "replay_accuracy" not in json.loads((true / layout.MANIFEST).read_text())
    assert any(not torch.equal(tensor, stored(true, 4)[name]) for name, tensor in stored(run, 4).items())
    first = [json.loads((one / layout.METRICS).read_text().splitlines()[0]) for one in (run, true)]
    assert first[0] == first[1]  # evaluations are of the true values
