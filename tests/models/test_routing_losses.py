import math

import pytest
import torch

from moefacts.models.moe import Routing
from moefacts.models.routing_losses import (
    LoadSums,
    importance_loss,
    load_loss,
    load_measures,
    squared_coefficient_of_variation,
    stay_probability,
    token_balance_loss,
    updated_selection_bias,
    z_loss,
)

E, N = 4, 32


def routing(logits, num_chosen=1, expert_NK=None, **more) -> Routing:
    gates = logits.softmax(dim=1)
    expert_NK = logits.topk(num_chosen, dim=1).indices if expert_NK is None else expert_NK
    token_A = torch.arange(len(logits)).repeat_interleave(expert_NK.shape[1])
    weight_A = gates.gather(1, expert_NK).flatten()
    kept_A = torch.ones(len(token_A), dtype=torch.bool)
    return Routing(logits, gates, expert_NK, token_A, expert_NK.flatten(), weight_A, kept_A, **more)


def uniform():
    """All scores are equal, and every expert has as many tokens."""
    return routing(torch.zeros(N, E), expert_NK=(torch.arange(N) % E)[:, None])


def collapsed():
    """Every token chooses expert 0 with certainty."""
    return routing(torch.tensor([[100.0, 0, 0, 0]]).expand(N, E))


def test_losses_take_their_known_values_at_perfect_balance():
    assert importance_loss(uniform()) == pytest.approx(0, abs=1e-9)
    assert token_balance_loss(uniform()) == pytest.approx(1)
    assert z_loss(uniform()) == pytest.approx(math.log(E) ** 2)


def test_losses_take_their_known_values_when_the_router_has_collapsed():
    assert importance_loss(collapsed()) == pytest.approx(E - 1)
    assert token_balance_loss(collapsed()) == pytest.approx(E)
    assert z_loss(collapsed()) == pytest.approx(100.0**2)


def test_token_balance_divides_by_all_assignments_when_tokens_have_several_experts():
    experts = torch.stack([torch.arange(N) % E, (torch.arange(N) + 1) % E], dim=1)
    assert token_balance_loss(routing(torch.zeros(N, E), expert_NK=experts)) == pytest.approx(1)


def test_the_coefficient_of_variation_is_standard_deviation_over_mean():
    amounts = torch.tensor([1.0, 2.0, 5.0, 8.0])
    expected = amounts.std(unbiased=False) / amounts.mean()
    assert squared_coefficient_of_variation(amounts).sqrt() == pytest.approx(expected.item())


@pytest.mark.parametrize("num_chosen", [1, 2, 3])
def test_the_stay_probability_is_what_fresh_noise_gives(num_chosen):
    """Compare equation 9 with a simulation that redraws one expert's noise and counts how often the expert stays."""
    torch.manual_seed(0)
    clean, std = torch.randn(6, E), torch.rand(6, E) + 0.5
    noisy = clean + torch.randn(6, E) * std
    experts = noisy.topk(num_chosen, dim=1).indices
    probability = stay_probability(routing(clean, expert_NK=experts, noisy_logits_NE=noisy, noise_std_NE=std))
    draws = 40_000
    for e in range(E):
        fresh = clean[:, e] + torch.randn(draws, 6) * std[:, e]
        others = torch.cat([noisy[:, :e], noisy[:, e + 1 :]], dim=1)
        threshold = others.topk(num_chosen, dim=1).values[:, -1]
        simulated = (fresh > threshold).float().mean(dim=0)
        assert torch.allclose(probability[:, e], simulated, atol=0.012)


def test_the_load_loss_is_zero_at_equal_scores_and_flows_to_scores_and_noise():
    clean = torch.zeros(N, E, requires_grad=True)
    std = torch.ones(N, E, requires_grad=True)
    noisy = clean + torch.randn(N, E, generator=torch.Generator().manual_seed(0)) * std
    loss = load_loss(routing(clean, 2, noisy_logits_NE=noisy, noise_std_NE=std))
    assert 0 <= loss < 0.1
    loss.backward()
    assert clean.grad.abs().sum() > 0
    assert std.grad.abs().sum() > 0


def test_the_load_loss_punishes_a_favourite():
    clean = torch.zeros(N, E)
    clean[:, 0] = 5.0
    std = torch.ones(N, E)
    noisy = clean + torch.randn(N, E, generator=torch.Generator().manual_seed(0)) * std
    assert load_loss(routing(clean, 1, noisy_logits_NE=noisy, noise_std_NE=std)) > 1.5


def test_without_noise_there_is_no_load_loss():
    assert load_loss(uniform()) == 0


def test_biases_rise_for_idle_experts_and_fall_for_busy_ones():
    bias = updated_selection_bias(torch.zeros(4), torch.tensor([10.0, 0.0, 5.0, 5.0]), rate=0.1)
    assert bias.tolist() == pytest.approx([-0.1, 0.1, 0, 0])


def test_what_is_logged_of_a_layer():
    measures = load_measures(LoadSums.of(collapsed()))
    assert measures["load_fraction_E"].tolist() == [1, 0, 0, 0]
    assert measures["max_violation"] == E - 1
    assert measures["router_entropy"] == pytest.approx(0, abs=1e-6)
    assert measures["importance_cv"] == pytest.approx(math.sqrt(E - 1))
    assert measures["dropped_fraction"] == 0
    assert load_measures(LoadSums.of(uniform()))["router_entropy"] == pytest.approx(math.log(E))


def test_a_token_that_uses_all_experts_stays_with_all_of_them():
    clean = torch.randn(6, E, generator=torch.Generator().manual_seed(0))
    given = routing(clean, E, noisy_logits_NE=clean, noise_std_NE=torch.ones(6, E))
    assert torch.equal(stay_probability(given), torch.ones(6, E))
    assert load_loss(given) == pytest.approx(0, abs=1e-9)
