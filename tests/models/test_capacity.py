"""Who is dropped where experts are full, and that nobody else in a batch matters where they are not."""

import math

import pytest
import torch

from moefacts.models.packing import Packing
from moefacts.models.transformer import build_model
from tests.models.test_moe import KINDS, E, build, inputs, moe_config
from tests.models.test_moe_models import model_config

DEPENDS_ON_OTHERS = ("expert_choice", "capacity 0.6")


def test_an_expert_takes_as_many_as_fit_and_the_others_pass_through_the_residual():
    layer = build(num_experts=2, experts_per_token=1, capacity_factor=0.5)
    with torch.no_grad():
        layer.router.score.weight.zero_()
    layer.router.selection_bias_E[0] = 1.0  # everybody wants expert 0, which has room for ceil(0.5 * 40 / 2)
    y, routing = layer(inputs())
    assert routing.kept_A.sum() == 10
    assert (y[~routing.kept_A] == 0).all()
    assert (y[routing.kept_A] != 0).any(dim=1).all()


@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
def test_who_is_dropped_does_not_depend_on_the_place_in_the_batch(training):
    layer = build(capacity_factor=0.6).train(training)
    torch.manual_seed(0)
    dropped_N = 1 - layer(inputs(8000))[1].kept_A.view(8000, 2).float().mean(dim=1)
    overall = dropped_N.mean().item()
    assert 0.4 <= overall < 0.6  # as many as do not fit at least, more where experts are uneven
    assert dropped_N.view(4, 2000).mean(dim=1).tolist() == pytest.approx([overall] * 4, abs=0.04)


def test_second_choices_are_dropped_before_first_ones():
    _, routing = build(capacity_factor=0.6)(inputs(200))
    kept_NK = routing.kept_A.view(200, 2)
    room = math.ceil(0.6 * 200 * 2 / E)
    for expert in range(E):
        first, second = (kept_NK[routing.expert_NK[:, rank] == expert, rank] for rank in (0, 1))
        assert first.sum() == min(room, len(first))
        assert second.sum() == min(room - first.sum(), len(second))


def test_chance_is_drawn_anew_in_training_by_the_seed_and_fixed_in_evaluation():
    layer = build(capacity_factor=0.6)

    def kept(seed):
        torch.manual_seed(seed)
        return layer(inputs())[1].kept_A.tolist()

    assert kept(0) == kept(0) != kept(1)
    layer.eval()
    assert kept(0) == kept(1)


@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (*DEPENDS_ON_OTHERS, "noisy keep_top_k")])
def test_neither_padding_nor_others_in_the_batch_change_the_routing_of_a_sequence(kind, training):
    model = build_model(model_config(moe_config(**KINDS[kind])), 30, seed=0).train(training)
    token_BT = torch.randint(30, (3, 12), generator=torch.Generator().manual_seed(0))
    length_B = [12, 5, 9]
    together = model(token_BT, Packing(length_B, 12, token_BT.device))
    start = 0
    for row, length in enumerate(length_B):
        alone = model(token_BT[row : row + 1, :length])
        own = slice(start, start + length)
        torch.testing.assert_close(together.hidden[own], alone.hidden[0])
        for layer, routing in alone.routings.items():
            assert torch.equal(together.routings[layer].expert_NK[own], routing.expert_NK)
            torch.testing.assert_close(together.routings[layer].gates_NE[own], routing.gates_NE)
        start += length
