"""ESFT: relevance is counted as the paper says, the set is the smallest, and nothing else moves by a bit."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moefacts.errors import UserError
from moefacts.training.finetuning.experts import expert_relevance, smallest_set
from moefacts.training.pack import pack
from tests.conftest import tiny_config
from tests.training.finetuning.started import MIXTURE, started, trained

ESFT = (*MIXTURE, "training.method=esft", "method.batches=2", "method.expert_share=0.4")


@pytest.mark.parametrize("kind", ["top_k", "keep_top_k", "soft", "expert_choice"])
def test_the_relevance_by_gate_is_the_mean_weight_in_the_output_over_the_experts_of_the_layer(kind):
    config, materials = started(*ESFT, "method.relevance=gate", f"model.moe.kind={kind}")
    found = expert_relevance(config, materials.model, materials.batcher)
    sums = {0: torch.zeros(4), 1: torch.zeros(4)}
    for number in range(2):
        batch = materials.batcher.cohort_batch("new", "relevance", number, 8)
        with torch.no_grad():
            routings = materials.model.eval()(batch.inputs_BT, pack(batch)).routings
        for layer, routing in routings.items():
            if kind == "soft":
                sums[layer] += routing.gates_NE.sum(dim=0)
                continue
            for expert, weight in zip(routing.expert_A.tolist(), routing.weight_A.tolist(), strict=True):
                sums[layer][expert] += weight
    for layer, sum_E in sums.items():
        torch.testing.assert_close(found[layer].float(), sum_E / sum_E.sum(), rtol=1e-4, atol=1e-6)


def test_the_relevance_by_selection_is_the_share_of_the_choices_of_the_new_people_only():
    config, materials = started(*ESFT, "method.relevance=selection")
    found = expert_relevance(config, materials.model, materials.batcher)
    counts = torch.zeros(2, 4)
    for number in range(2):
        batch = materials.batcher.cohort_batch("new", "relevance", number, 8)
        assert set(batch.individual_B.tolist()) <= set(materials.batcher.population.cohort("new"))
        with torch.no_grad():
            routings = materials.model.eval()(batch.inputs_BT, pack(batch)).routings
        for layer, routing in routings.items():
            for experts in routing.expert_NK.tolist():
                for expert in experts:
                    counts[layer, expert] += 1 / len(experts)
    for layer in (0, 1):
        assert float(found[layer].sum()) == pytest.approx(1)
        torch.testing.assert_close(found[layer].float(), counts[layer] / counts[layer].sum())


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any), st.floats(0.05, 1))
def test_no_smaller_set_has_the_share(amounts, share):
    relevance_E = torch.tensor(amounts, dtype=torch.float64) / sum(amounts)
    chosen = smallest_set(relevance_E, share).nonzero().flatten().tolist()
    assert sum(amounts[e] for e in chosen) / sum(amounts) >= share - 1e-9
    for smaller in itertools.combinations(range(len(amounts)), len(chosen) - 1):
        assert sum(amounts[e] for e in smaller) / sum(amounts) < share + 1e-9


def test_only_the_chosen_experts_move_whatever_the_weight_decay():
    config, materials = started(*ESFT, "method.relevance=gate", "model.moe.balance.bias_rate=0.1")
    biases = [layer.feed_forward.router.selection_bias_E.clone() for layer in materials.model.layers]
    before, after, step = trained(config, materials)
    chosen = step.method.chosen
    assert {int(chosen[layer].sum()) for layer in chosen} <= {1, 2, 3}
    for name, old in before.items():
        if ".experts." not in name:
            assert torch.equal(old, after[name]), name
            continue
        moved_E = (old != after[name]).flatten(1).any(dim=1)
        assert torch.equal(moved_E, chosen[int(name.split(".")[1])]), name
    for layer, bias in zip(materials.model.layers, biases, strict=True):
        assert torch.equal(layer.feed_forward.router.selection_bias_E, bias)  # the frozen router chooses as before
    per_expert = sum(p[0].numel() for name, p in after.items() if ".0.feed_forward.experts." in name)
    assert step.partial.num_trained == per_expert * sum(int(mask.sum()) for mask in chosen.values())


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("training.method=esft", "method.batches=1", "method.relevance=gate", "method.expert_share=0.2"), "needs a mixture of experts; this model is dense"),
        (ESFT, "training.method=esft needs method.relevance"),
        ((*ESFT, "method.relevance=mean"), "method.relevance=mean is not a valid value"),
        ((*ESFT, "method.relevance=gate", "method.expert_share=1.2"), "must lie in"),
        ((*ESFT, "method.relevance=selection", "model.moe.kind=soft"), "all experts are chosen equally often"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, reason):
    with pytest.raises(UserError, match=reason):
        tiny_config("init.run=x", "init.step=1", "init.source=y", *overrides)
