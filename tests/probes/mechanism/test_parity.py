"""Knock-outs of an exported model, computed by transformers and hooks of this file, are those that moefacts computes."""

import math

import pytest
import torch

from moefacts.experiments.tasks.export import export_run
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.train import execute
from moefacts.probes.mechanism.interventions import Subject
from moefacts.probes.mechanism.knock_out import EDGES, blocked
from moefacts.synthetic_data.prompts import prompt_pairs
from tests.conftest import tiny_config

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Some prompts to a trained model of two layers, and the same model as transformers loads it."""
    path = tmp_path_factory.mktemp("parity")
    overrides = (
        "model.num_layers=2",
        "training.learning_rate=0.02",
        "evaluation.interval=12",
        "checkpoints.interval=12",
    )
    run = execute(tiny_config(f"run.dir={path}/run", *overrides))
    export_run(run, path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path / "out", attn_implementation="eager").eval()
    _, materials = load_run(run)
    return Subject(materials.model, prompt_pairs(materials.batcher, "seen", 8)[0]), theirs


@torch.no_grad()
def outside(theirs, prompts, layers, blocked_NTT):
    """The probability of the true value's first token when those edges get −∞ in those layers, shape (N,)."""
    num_tokens = prompts.token_NT.shape[1]
    never_NTT = blocked_NTT & ~torch.eye(num_tokens, dtype=torch.bool)

    def hook(_, arguments, named):
        mask = named["attention_mask"]
        assert mask.shape[-2:] == (num_tokens, num_tokens)
        return arguments, {**named, "attention_mask": mask.masked_fill(never_NTT[:, None], -math.inf)}

    handles = [
        theirs.model.layers[layer].self_attn.register_forward_pre_hook(hook, with_kwargs=True) for layer in layers
    ]
    try:
        logits_NTV = theirs(prompts.token_NT).logits
    finally:
        for handle in handles:
            handle.remove()
    row_N = torch.arange(len(logits_NTV))
    return logits_NTV[row_N, prompts.last_N].double().softmax(dim=1)[row_N, prompts.target_N]


def test_without_a_knock_out_both_models_answer_alike(both):
    subject, theirs = both
    nothing_NTT = torch.zeros(*subject.prompts.token_NT.shape, subject.prompts.token_NT.shape[1], dtype=torch.bool)
    assert torch.allclose(outside(theirs, subject.prompts, [], nothing_NTT), subject.probability(), atol=1e-4)


@pytest.mark.parametrize("layers", [[0], [1], [0, 1]], ids=str)
@pytest.mark.parametrize("edges", EDGES)
def test_knock_outs_of_the_exported_model_are_those_of_the_trained_one(both, edges, layers):
    subject, theirs = both
    blocked_NTT = blocked(subject.prompts.site_NT, edges)
    clean_N = subject.probability()
    with subject.knocked_out(layers, blocked_NTT):
        expected_N = subject.probability()
    found_N = outside(theirs, subject.prompts, layers, blocked_NTT)
    assert torch.allclose(found_N, expected_N, rtol=1e-3, atol=1e-6)
    if edges == "value from name" or (edges == "name from name" and 0 in layers):
        assert (expected_N - clean_N).abs().max() > 1e-4  # what is compared is not nothing
