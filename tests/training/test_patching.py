"""A patched twin is the run itself except that it uses the attention of one of the run's checkpoints."""

import re

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.config.identity import identity
from moefacts.config.loader import config_yaml, read_config
from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import load_run, prepare
from moefacts.experiments.tasks.train import execute
from moefacts.models.transformer import ATTENTION
from moefacts.runs import layout
from moefacts.runs.location import run_directory
from moefacts.runs.reader import read_run
from moefacts.training.interrupt import Interrupted
from moefacts.training.loop import Trainer
from moefacts.training.pack import pack
from moefacts.training.patching import load_patch, reference_config
from tests.conftest import tiny_config
from tests.training.comparing import StopAt, records, same, weights

TWO_LAYERS = ["model.num_layers=2", "training.log_interval=1"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the reference run. Tests may train twins beside it, but must not change it."""
    folder = tmp_path_factory.mktemp("patching")
    execute(config_in(folder))
    return folder


def config_in(root, *overrides):
    return tiny_config(*TWO_LAYERS, f"run.root={root}", *overrides)


def patched(root, step, start=0, *overrides):
    return config_in(root, f"patching.reference_step={step}", f"patching.start={start}", *overrides)


@torch.no_grad()
def attention_of(model, token_BT, packing):
    return list(model(token_BT, packing, keep={ATTENTION}).attention.values())


@pytest.mark.parametrize("is_packed", [False, True])
def test_patching_a_model_with_its_own_attention_changes_nothing(batcher, is_packed):
    model = prepare(tiny_config(*TWO_LAYERS)).model
    batch = batcher.training_batch(0, 6)
    packing = pack(batch) if is_packed else None
    patterns = attention_of(model, batch.inputs_BT, packing)
    own, given = (model(batch.inputs_BT, packing=packing, patterns=one).logits for one in (None, patterns))
    assert torch.allclose(own, given, atol=1e-5)
    at_N = (batch.attribute_BT[:, 1:] >= 0).flatten().nonzero().squeeze(1)
    chosen = model(batch.inputs_BT, packing, at_N, patterns=patterns).logits
    assert torch.allclose(chosen, model(batch.inputs_BT, packing, at_N).logits, atol=1e-5)


def test_no_gradient_reaches_queries_keys_or_the_reference(batcher):
    model, other = prepare(tiny_config(*TWO_LAYERS)).model, prepare(tiny_config(*TWO_LAYERS, "seed=1")).model
    batch = batcher.training_batch(0, 6)
    patterns = attention_of(other, batch.inputs_BT, pack(batch))
    model(batch.inputs_BT, packing=pack(batch), patterns=patterns).logits.sum().backward()
    for layer in model.layers:
        queries_and_keys, values = layer.mixer.qkv.weight.grad.split([64, 32])
        assert queries_and_keys.abs().max() == 0
        assert values.abs().min() > 0
    assert all(parameter.grad is None for parameter in other.parameters())


def test_the_reference_is_the_run_without_patching(root):
    config = patched(root, 8, 4, "run.name=twin")
    assert run_directory(reference_config(config)) == run_directory(config_in(root))
    patch = load_patch(config, prepare(config).model)
    expected = load_file(layout.checkpoint_folder(run_directory(config_in(root)), 8) / "model.safetensors")
    assert same(dict(patch.reference.state_dict()), expected)
    assert load_patch(config_in(root), prepare(config).model) is None


def test_the_twin_equals_the_run_until_patching_starts_and_differs_afterwards(root):
    reference, twin = run_directory(config_in(root)), execute(patched(root, 12, 8))
    for before, after in zip(records(reference), records(twin), strict=True):
        assert before["step"] == after["step"]
        assert (before == after) == (before["step"] < 8 or (before["step"] == 8 and "train/loss" in before)), before[
            "step"
        ]


def test_a_twin_patched_from_the_start_has_the_same_initial_weights_and_other_losses(root):
    reference, twin = run_directory(config_in(root)), execute(patched(root, 12))
    first = [load_file(layout.checkpoint_folder(run, 0) / "model.safetensors") for run in (reference, twin)]
    assert same(*first)
    assert records(reference)[0] != records(twin)[0]  # the evaluation before the first update is patched


def test_evaluations_use_the_reference_s_attention(root):
    """At step 0, a twin patched with the attention of step 0 has the same losses as the run."""
    reference, twin = run_directory(config_in(root)), execute(patched(root, 0))
    first = [records(run)[0] for run in (reference, twin)]
    assert first[0] == pytest.approx(first[1], rel=1e-4)


def test_the_optimizer_starts_afresh_where_patching_starts(root, monkeypatch, tmp_path):
    config = patched(root, 12, 4, f"run.dir={tmp_path}/twin")
    step_counts = {}
    step = Trainer._step

    def spy(self, *arguments):
        step(self, *arguments)
        step_counts[self.state.step] = {int(state["step"]) for state in self.step.optimizer.state.values()}

    monkeypatch.setattr(Trainer, "_step", spy)
    execute(config)
    assert step_counts[4] == {4}
    assert step_counts[5] == {1}
    assert step_counts[12] == {8}


@pytest.mark.parametrize("stop_step", [3, 4, 9])
def test_a_resumed_twin_equals_an_uninterrupted_one(root, tmp_path, monkeypatch, stop_step):
    whole = execute(patched(root, 12, 4, f"run.dir={tmp_path}/whole"))
    stopped = patched(root, 12, 4, f"run.dir={tmp_path}/stopped")
    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, m, stop, d: train(self, m, StopAt(self, stop_step), d))
    with pytest.raises(Interrupted):
        execute(stopped)
    monkeypatch.undo()
    run = execute(stopped)
    assert records(run) == records(whole)
    assert same(weights(run), weights(whole))


def test_a_mixture_can_be_patched(tmp_path):
    moe = [
        "model=moe_laptop",
        "model.moe.num_experts=4",
        "model.moe.d_expert=16",
        *TWO_LAYERS[1:],
        f"run.root={tmp_path}",
    ]
    execute(tiny_config(*moe))
    twin = execute(tiny_config(*moe, "patching.reference_step=4"))
    assert read_run(twin).manifest["state"] == "finished"


@pytest.mark.parametrize(
    ("overrides", "answer"),
    [
        (("patching.reference_step=5",), "has no such checkpoint; it has those of steps [0, 4, 8, 12]"),
        (("patching.reference_step=4", "seed=7"), "which does not exist; train it first"),
        (("patching.reference_step=-1",), "patching.reference_step"),
        (("patching.reference_step=4", "patching.start=-1"), "patching.start"),
        (("patching.reference_step=4", "training.compile=true"), "training.compile=false"),
        (("patching.reference_step=4", "model.mixer=rg_lru"), "needs attention to patch"),
    ],
)
def test_impossible_patching_is_refused_in_one_line_and_leaves_nothing_behind(root, overrides, answer):
    before = sorted(root.rglob("*"))
    with pytest.raises(UserError, match=re.escape(answer)) as raised:
        execute(config_in(root, *overrides))
    assert "\n" not in str(raised.value)
    assert sorted(root.rglob("*")) == before


@pytest.mark.usefixtures("quick_figures")
def test_a_twin_is_not_loaded_without_its_reference(root, tmp_path):
    twin = execute(patched(root, 8, 0, f"run.dir={tmp_path}/twin"))
    with pytest.raises(UserError, match="is patched"):
        load_run(twin)
    assert read_run(twin).missing_probes == []
    assert CliRunner().invoke(cli.app, ["analyze", str(twin)]).exit_code == 0


def test_configurations_without_patching_keep_their_identity_and_are_still_read(tmp_path):
    config = tiny_config()
    assert "patching" not in identity(config)
    assert identity(config) != identity(tiny_config("patching.reference_step=0"))
    text = config_yaml(config)
    old = text[: text.index("patching:")]
    assert "patching" not in old
    (tmp_path / "config.yaml").write_text(old)
    assert read_config(tmp_path / "config.yaml") == config
