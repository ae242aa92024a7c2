"""Single experts that are silenced or see another person's tokens, against models in which the same was done by hand."""

import copy

import pytest
import torch

from moefacts.models.moe import ROUTES
from moefacts.models.transformer import build_model
from moefacts.probes.mechanism.ablation import EVERYWHERE, SWAP, ZERO, places
from moefacts.probes.mechanism.experts import expert_changed, experts_table, experts_used, losses_by_expert
from moefacts.probes.mechanism.interventions import MLP, Subject
from moefacts.runs.tables import MECHANISM_EXPERTS
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.prompts import prompt_pairs
from tests.conftest import tiny_config

EXPERTS = 4
SIZES = ["model=moe_laptop", "model.num_layers=2", f"model.moe.num_experts={EXPERTS}", "model.moe.d_expert=16"]
SWITCH = ["model.moe.kind=switch", "model.moe.experts_per_token=1", "model.moe.renormalize=false"]
KINDS = {kind: [f"model.moe.kind={kind}", "model.moe.experts_per_token=2"] for kind in ROUTES} | {
    "switch": SWITCH,
    "shared": ["model.moe.num_shared=1"],
    "limited capacity": ["model.moe.capacity_factor=0.8"],
}


def mixture(batcher, *overrides):
    """A model with random weights that are large enough for experts to matter."""
    model = build_model(tiny_config(*SIZES, *overrides).model, batcher.tokenizer.vocab_size, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".experts." in name or "router" in name:
                parameter.mul_(8)
    return model


@pytest.fixture(scope="module")
def prompts(batcher):
    return prompt_pairs(batcher, "seen", 8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_silenced_expert_is_one_whose_output_weights_are_zero(kind, batcher, prompts):
    model = mixture(batcher, *KINDS[kind])
    subject = Subject(model, prompts[0])
    clean_N = subject.probability()
    for layer in range(2):
        for expert in range(EXPERTS):
            without = copy.deepcopy(model)
            with torch.no_grad():
                without.layers[layer].feed_forward.experts.down[expert].zero_()
            with expert_changed(subject, layer, expert):
                found_N = subject.probability()
            torch.testing.assert_close(found_N, Subject(without, prompts[0]).probability(), rtol=1e-4, atol=1e-9)
    assert (subject.probability() == clean_N).all()  # nothing stays changed


def test_an_expert_that_sees_the_same_person_changes_nothing(batcher, prompts):
    subject = Subject(mixture(batcher), prompts[0])
    lost = dict.fromkeys((ZERO, SWAP), 0.0)
    for _, _, mode, _, lost_N in losses_by_expert(subject, subject):
        lost[mode] = max(lost[mode], float((lost_N / subject.probability()).abs().max()))
    assert lost[SWAP] < 1e-5
    assert lost[ZERO] > 1e-2


def test_where_all_tokens_go_to_one_expert_its_swap_is_that_of_the_whole_layer(batcher, prompts):
    model = mixture(batcher, *SWITCH)
    for layer in model.layers:
        with torch.no_grad():
            layer.feed_forward.router.score.weight.zero_()
            layer.feed_forward.router.selection_bias_E[2] = 1.0
    subject, other = (Subject(model, one) for one in prompts)
    assert experts_used(subject, 0) == {2: pytest.approx(1 / EXPERTS)}  # of the softmax over all
    clean_N, others, row_R = subject.probability(), other.recorded(), places(subject)[EVERYWHERE]
    found = list(losses_by_expert(subject, other))
    assert [(layer, expert, mode) for layer, expert, mode, *_ in found] == [
        (layer, 2, mode) for layer in range(2) for mode in (ZERO, SWAP)
    ]
    for layer, _, mode, _, lost_N in found:
        if mode == SWAP:
            with subject.set_to(layer, MLP, row_R, others[layer, MLP]):
                torch.testing.assert_close(lost_N, clean_N - subject.probability(), rtol=1e-4, atol=1e-9)


def test_the_table_has_every_fact_without_every_expert(batcher, tmp_path):
    table = experts_table(mixture(batcher, "model.moe.kind=soft"), batcher, "seen")
    MECHANISM_EXPERTS.write(tmp_path, table)
    read = MECHANISM_EXPERTS.read(tmp_path)
    people = read["individual"].nunique()
    assert len(read) == 2 * EXPERTS * 2 * people * len(ATTRIBUTES)  # layers, experts, modes
    one_place = read[(read["layer"] == 1) & (read["mode"] == ZERO)]
    assert one_place.groupby("expert")["weight"].first().sum() == pytest.approx(1)


def test_of_a_dense_model_it_is_empty(batcher, tmp_path):
    dense = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed=0)
    MECHANISM_EXPERTS.write(tmp_path, experts_table(dense, batcher, "seen"))
    assert MECHANISM_EXPERTS.read(tmp_path).empty
