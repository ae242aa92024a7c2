"""Matrices start with a standard deviation set by their fan-in; those that write to the residual stream also by depth."""

import math

import pytest
import torch

from moefacts.config.presets import compose
from moefacts.models.moe import MixtureOfExperts
from moefacts.models.transformer import build_model

VOCAB = 400
MODELS = {
    "dense": ("model=dense_laptop", "model.num_layers=3", "model.tied_embeddings=false"),
    "gated": ("model=dense_laptop", "model.num_layers=2", "model.activation=swiglu"),
    "recurrent": ("model=dense_laptop_recurrent", "model.num_layers=3"),
    "mixture": (
        "model=moe_laptop", "model.num_layers=3", "model.activation=swiglu", "model.moe.num_shared=1",
        "model.moe.kind=keep_top_k", "model.moe.noise=true", "model.moe.renormalize=false",
    ),
}  # fmt: skip
# With width 96 and feed-forward width 384, every fan-in differs from every fan-out, so no test can confuse the axes.
WIDTHS = ("model.d_model=96", "model.num_heads=4", "model.d_hidden=384")
CONSTANT = {"norm.weight": 1.0, "router.noise.weight": 0.0, "gate.bias": 0.0}
WRITES_RESIDUAL = (".out.weight", "down.weight", "experts.down")
# The standard deviation of n numbers varies by 1 / sqrt(2 n), so matrices of at least this size are tested to 3%.
ENOUGH = 4000


def build(name):
    config = compose([*MODELS[name], *WIDTHS]).model
    return build_model(config, VOCAB, seed=1)


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_starts_with_the_stated_standard_deviation(name):
    model = build(name)
    scale = 1 / math.sqrt(2 * model.config.num_layers)
    seen = {"residual": 0, "plain": 0}
    for key, parameter in model.named_parameters():
        constant = next((value for end, value in CONSTANT.items() if key.endswith(end)), None)
        if constant is not None:
            assert (parameter == constant).all(), key
            continue
        if key.endswith("lambda_R"):
            continue  # tests/models/test_recurrence.py tests it
        writes = key.endswith(WRITES_RESIDUAL)
        seen["residual" if writes else "plain"] += 1
        expected = (scale if writes else 1.0) / math.sqrt(parameter.shape[-1])
        tolerance = 0.03 if parameter.numel() >= ENOUGH else 6 / math.sqrt(2 * parameter.numel())
        assert parameter.std().item() == pytest.approx(expected, rel=tolerance), key
        assert abs(parameter.mean().item()) < 6 * expected / math.sqrt(parameter.numel()), key
    assert all(seen.values())


def test_every_expert_by_itself_starts_like_a_dense_block_of_its_size():
    """Stacked weights have three axes, of which the last is the fan-in. No expert may start with larger weights."""
    model = build("mixture")
    d_model, width = model.config.d_model, model.config.moe.d_expert
    scale = 1 / math.sqrt(2 * model.config.num_layers)
    mixtures = [module for module in model.modules() if isinstance(module, MixtureOfExperts)]
    assert len(mixtures) == 3
    for mixture in mixtures:
        expected = {"up": 1 / math.sqrt(d_model), "gate": 1 / math.sqrt(d_model), "down": scale / math.sqrt(width)}
        for name, std in expected.items():
            weight_E = getattr(mixture.experts, name)
            assert len(weight_E) == model.config.moe.num_experts
            assert [one.std().item() for one in weight_E] == pytest.approx([std] * len(weight_E), rel=0.05), name
            assert not torch.equal(weight_E[0], weight_E[1])


def test_routers_start_without_preference_in_size_or_in_noise():
    """The scores of normalised tokens have a variance of one and no bias, for every expert. Noise starts at zero."""
    model = build("mixture")
    for module in model.modules():
        if isinstance(module, MixtureOfExperts):
            x_ND = torch.randn(4000, model.config.d_model, generator=torch.Generator().manual_seed(0))
            score_NE = module.router.score(x_ND)
            assert score_NE.std(dim=0).tolist() == pytest.approx([1.0] * score_NE.shape[1], abs=0.3)
            assert module.router.score.weight.std().item() == pytest.approx(model.config.d_model**-0.5, rel=0.1)
            assert not module.router.noise.weight.any()
            assert not module.router.selection_bias_E.any()
