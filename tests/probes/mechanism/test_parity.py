"""Knock-outs of an exported model are those that moefacts computes.

Outside of moefacts they are computed by transformers with hooks of this file, and by nnsight and TransformerLens where
these are installed (``pip install moefacts[parity]``).
"""

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


def cut(mask, blocked_NTT):
    """The mask that attention adds to its scores, with −∞ at those edges, too; none from a token to itself."""
    num_tokens = blocked_NTT.shape[1]
    assert mask.shape[-2:] == (num_tokens, num_tokens)
    return mask.masked_fill((blocked_NTT & ~torch.eye(num_tokens, dtype=torch.bool))[:, None], -math.inf)


def with_hooks(theirs, token_NT, layers, blocked_NTT):
    """The logits when those edges are cut in those layers, by hooks of PyTorch, shape (N, T, V)."""

    def hook(_, arguments, named):
        return arguments, {**named, "attention_mask": cut(named["attention_mask"], blocked_NTT)}

    handles = [
        theirs.model.layers[layer].self_attn.register_forward_pre_hook(hook, with_kwargs=True) for layer in layers
    ]
    try:
        return theirs(token_NT).logits
    finally:
        for handle in handles:
            handle.remove()


def with_nnsight(theirs, token_NT, layers, blocked_NTT):
    """The same by a trace of nnsight."""
    nnsight = pytest.importorskip("nnsight")
    wrapped = nnsight.NNsight(theirs)
    with wrapped.trace(token_NT):
        for layer in layers:
            attention = wrapped.model.layers[layer].self_attn
            arguments, named = attention.inputs
            mask = cut(named["attention_mask"], blocked_NTT)
            attention.inputs = (arguments, {**named, "attention_mask": mask})
        logits_NTV = wrapped.output.logits.save()
    return logits_NTV


def with_transformer_lens(theirs, token_NT, layers, blocked_NTT):
    """The same by TransformerLens, which loads the folder itself and has a hook at the scores."""
    lens = pytest.importorskip("transformer_lens.model_bridge")
    bridge = lens.TransformerBridge.boot_transformers(theirs.config._name_or_path, device="cpu")

    def hook(score_NHTT, hook):
        return cut(score_NHTT, blocked_NTT)

    return bridge.run_with_hooks(
        token_NT, fwd_hooks=[(f"blocks.{layer}.attn.hook_attn_scores", hook) for layer in layers]
    )


WAYS = (with_hooks, with_nnsight, with_transformer_lens)


@torch.no_grad()
def outside(way, theirs, prompts, layers, blocked_NTT):
    """The probability of the true value's first token when those edges get −∞ in those layers, shape (N,)."""
    logits_NTV = way(theirs, prompts.token_NT, layers, blocked_NTT)
    row_N = torch.arange(len(logits_NTV))
    return logits_NTV[row_N, prompts.last_N].double().softmax(dim=1)[row_N, prompts.target_N]


@pytest.mark.parametrize("way", WAYS)
def test_without_a_knock_out_both_models_answer_alike(both, way):
    subject, theirs = both
    nothing_NTT = torch.zeros(*subject.prompts.token_NT.shape, subject.prompts.token_NT.shape[1], dtype=torch.bool)
    assert torch.allclose(outside(way, theirs, subject.prompts, [], nothing_NTT), subject.probability(), atol=1e-4)


@pytest.mark.parametrize("layers", [[0], [1], [0, 1]], ids=str)
@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("way", WAYS)
def test_knock_outs_of_the_exported_model_are_those_of_the_trained_one(both, way, edges, layers):
    subject, theirs = both
    blocked_NTT = blocked(subject.prompts.site_NT, edges)
    clean_N = subject.probability()
    with subject.knocked_out(layers, blocked_NTT):
        expected_N = subject.probability()
    found_N = outside(way, theirs, subject.prompts, layers, blocked_NTT)
    assert torch.allclose(found_N, expected_N, rtol=1e-3, atol=1e-6)
    if edges == "value from name" or (edges == "name from name" and 0 in layers):
        assert (expected_N - clean_N).abs().max() > 1e-4  # what is compared is not nothing
