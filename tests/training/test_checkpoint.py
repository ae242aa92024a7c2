"""Checkpoints of earlier versions are loaded, in which layers had ``attention`` or ``recurrence`` for ``mixer``."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.training.checkpoint import MODEL, OPTIMIZER, load_checkpoint, renamed
from moefacts.training.checksums import CHECKSUMS
from moefacts.training.optimizer import build_optimizer, optimizer_tensors
from tests.conftest import tiny_config

# Former name of a layer's parameter, as in a checkpoint of 2026-11 -> its name now.
FORMER = {
    "attention": {
        "layers.0.attention_norm.weight": "layers.0.mixer_norm.weight",
        "layers.0.attention.qkv.weight": "layers.0.mixer.qkv.weight",
        "layers.0.attention.out.weight": "layers.0.mixer.out.weight",
    },
    "rg_lru": {
        "layers.0.attention_norm.weight": "layers.0.mixer_norm.weight",
        "layers.0.recurrence.taps_RW": "layers.0.mixer.taps_RW",
        "layers.0.recurrence.gate.weight": "layers.0.mixer.gate.weight",
        "layers.0.recurrence.value.weight": "layers.0.mixer.value.weight",
        "layers.0.recurrence.rg_lru.lambda_R": "layers.0.mixer.rg_lru.lambda_R",
        "layers.0.recurrence.rg_lru.recurrence_gate.weight": "layers.0.mixer.rg_lru.recurrence_gate.weight",
        "layers.0.recurrence.rg_lru.recurrence_gate.bias": "layers.0.mixer.rg_lru.recurrence_gate.bias",
        "layers.0.recurrence.rg_lru.input_gate.weight": "layers.0.mixer.rg_lru.input_gate.weight",
        "layers.0.recurrence.rg_lru.input_gate.bias": "layers.0.mixer.rg_lru.input_gate.bias",
        "layers.0.recurrence.out.weight": "layers.0.mixer.out.weight",
    },
}


def with_former_names(path, former):
    """Write the tensors of ``path`` back under their former names, and return them under those of now."""
    names = {now: before for before, now in former.items()}
    tensors = load_file(path)
    former_tensors = {}
    for name, tensor in tensors.items():
        parameter, slash, quantity = name.partition("/")
        former_tensors[names.get(parameter, parameter) + slash + quantity] = tensor
    assert not any("mixer" in name for name in former_tensors)
    save_file(former_tensors, path)
    (path.parent / CHECKSUMS).unlink(missing_ok=True)  # those versions had none
    return tensors


@pytest.mark.parametrize("mixer", FORMER)
def test_weights_and_optimizer_under_former_names_are_loaded(mixer, tmp_path):
    config = tiny_config(f"model.mixer={mixer}", f"run.dir={tmp_path}/run")
    run = execute(config)
    folder = layout.checkpoint_folder(run, 12)
    expected = [with_former_names(folder / file, FORMER[mixer]) for file in (MODEL, OPTIMIZER)]
    model = prepare(config).model
    optimizer = build_optimizer(model, config.training)
    load_checkpoint(run, 12, model, optimizer)
    for tensors, found in zip(expected, (model.state_dict(), optimizer_tensors(model, optimizer)), strict=True):
        assert tensors.keys() == found.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_current_names_are_not_renamed():
    names = ["embedding.weight", "layers.10.mixer.qkv.weight", "layers.0.feed_forward.up.weight/exp_avg"]
    assert list(renamed(dict.fromkeys(names))) == names
    assert list(renamed({"layers.10.attention.qkv.weight/exp_avg": None})) == ["layers.10.mixer.qkv.weight/exp_avg"]
