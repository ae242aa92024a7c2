"""What a router returns besides the layer's output (which ``test_moe.py`` tests). Losses and probes read it."""

import pytest
import torch

from moefacts.models.architecture import BalanceConfig, MoEConfig
from moefacts.models.feed_forward import FeedForward
from moefacts.models.kernels.mlp import mlp_reference
from moefacts.models.moe import MixtureOfExperts
from moefacts.models.routing_losses import load_loss

WIDTH, EXPERTS, TOKENS = 12, 6, 40


def layer(activation="gelu", **changes):
    values = {
        "kind": "top_k", "num_experts": EXPERTS, "experts_per_token": 2, "d_expert": 8, "num_shared": 0,
        "renormalize": False, "noise": False, "capacity_factor": None, "layers": "all",
        "balance": BalanceConfig(0.0, 0.0, 0.0, 0.0, 0.0),
    }  # fmt: skip
    made = MixtureOfExperts(WIDTH, activation, MoEConfig(**(values | changes)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made


def tokens():
    return torch.randn(TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


def test_a_noisy_router_returns_its_noise_in_training_and_the_load_loss_uses_it():
    noisy, x = layer(kind="keep_top_k", noise=True), tokens()
    _, routing = noisy(x)
    std = torch.nn.functional.softplus(noisy.router.noise(x))
    assert torch.allclose(routing.noise_std_NE, std)
    assert not torch.equal(routing.noisy_logits_NE, routing.logits_NE)
    deviation = (routing.noisy_logits_NE - routing.logits_NE) / std
    assert 0.8 < deviation.std() < 1.2
    assert torch.equal(routing.expert_NK, routing.noisy_logits_NE.topk(2, dim=1).indices)
    assert load_loss(routing) > 0
    _, routing = noisy.eval()(x)
    assert routing.noise_std_NE is None
    assert routing.noisy_logits_NE is None


@pytest.mark.parametrize(("kind", "capacity"), [("top_k", None), ("top_k", 0.5), ("expert_choice", None)])
def test_all_assignments_are_marked_kept_without_a_capacity_and_not_all_with_one(kind, capacity):
    _, routing = layer(kind=kind, capacity_factor=capacity)(tokens())
    assert routing.kept_A.dtype == torch.bool
    assert routing.kept_A.shape == routing.token_A.shape == routing.expert_A.shape == routing.weight_A.shape
    assert routing.kept_A.all() == (capacity is None)


def test_with_expert_choice_the_router_returns_what_the_tokens_would_have_chosen():
    chooses, x = layer(kind="expert_choice"), tokens()
    _, routing = chooses(x)
    gates = chooses.router.score(x).softmax(dim=1)
    assert torch.allclose(routing.gates_NE, gates)
    assert torch.equal(routing.expert_NK, gates.topk(2, dim=1).indices)


@pytest.mark.parametrize("activation", ["gelu", "relu", "swiglu"])
def test_shared_experts_are_one_block_of_their_summed_width_and_activation(activation):
    with_shared, x = layer(activation, num_shared=2), tokens()
    assert isinstance(with_shared.shared, FeedForward)
    up, down = with_shared.shared.up.weight, with_shared.shared.down.weight
    assert up.shape == (2 * 8, WIDTH)
    gate = with_shared.shared.gate.weight if activation == "swiglu" else None
    with torch.no_grad():
        with_shared.experts.down.zero_()  # only the shared block is left
    expected = mlp_reference(x, up, gate, down, activation)
    assert torch.allclose(with_shared(x)[0], expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert layer(activation).shared is None


@pytest.mark.parametrize("activation", ["gelu", "relu", "swiglu"])
def test_experts_have_a_gate_only_if_their_activation_needs_one(activation):
    experts = layer(activation).experts
    assert (experts.gate is not None) == (activation == "swiglu")
    assert experts.up.shape == (EXPERTS, 8, WIDTH)
    assert experts.down.shape == (EXPERTS, WIDTH, 8)
    if experts.gate is not None:
        assert experts.gate.shape == experts.up.shape
