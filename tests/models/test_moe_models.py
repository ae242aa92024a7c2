"""Models whose feed-forward blocks are mixtures: which layers, how many parameters, what they depend on."""

import pytest
import torch

from moefacts.config.preset_files import preset_names
from moefacts.config.presets import compose
from moefacts.models.architecture import BalanceConfig, ModelConfig, parameter_counts
from moefacts.models.packing import Packing
from moefacts.models.transformer import build_model, count_parameters
from tests.models.test_moe import KINDS, moe_config


def model_config(moe, **changes):
    values = {
        "preset": "test", "num_layers": 4, "d_model": 16, "num_heads": 2, "d_head": 8, "d_hidden": 24,
        "activation": "gelu", "tied_embeddings": False, "rope_theta": 10000.0, "mixer": "attention", "norm_epsilon": 1e-6, "moe": moe,
    }  # fmt: skip
    return ModelConfig(**(values | changes))


@pytest.mark.parametrize(("layers", "numbers"), [("all", [0, 1, 2, 3]), ("every_second", [1, 3]), ([2, 0], [0, 2])])
def test_which_layers_are_mixtures_is_configurable(layers, numbers):
    model = build_model(model_config(moe_config(layers=layers)), 30, seed=0)
    assert list(model(torch.randint(30, (2, 7))).routings) == numbers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_parameter_counts_are_computed_and_true(kind, activation):
    config = model_config(moe_config(layers="every_second", **KINDS[kind]), activation=activation)
    model = build_model(config, 30, seed=0)
    counts = parameter_counts(config, 30)
    assert count_parameters(model) == counts
    assert counts.total == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("expert_choice", "capacity 0.6")])
def test_every_dropless_kind_but_expert_choice_is_causal(kind):
    model = build_model(model_config(moe_config(**KINDS[kind])), 30, seed=0).eval()
    before = torch.randint(30, (1, 20), generator=torch.Generator().manual_seed(0))
    after = before.clone()
    after[0, 12:] = (after[0, 12:] + 1) % 30
    assert torch.allclose(model(before).logits[:, :12], model(after).logits[:, :12], atol=1e-6)


def test_routers_see_no_padding():
    model = build_model(model_config(moe_config()), 30, seed=0)
    token = torch.randint(30, (2, 10))
    routings = model(token, packing=Packing([6, 6], 10, token.device)).routings
    assert {number: len(routing.logits_NE) for number, routing in routings.items()} == dict.fromkeys(range(4), 12)


def test_every_preset_matches_its_dense_twin_in_active_or_in_total_parameters_as_its_name_says():
    for name in preset_names("model"):
        config = compose([f"model={name}"]).model
        if config.moe is None:
            continue
        dense = compose([f"model=dense_{name.split('_')[1]}"]).model
        width = config.moe.num_experts if name.endswith("_total") else config.moe.experts_per_token
        assert config.moe.d_expert * width == dense.d_hidden
        counts, twin = parameter_counts(config, 1000), parameter_counts(dense, 1000)
        router = config.num_layers * config.d_model * config.moe.num_experts
        matched = counts.total if name.endswith("_total") else counts.active
        assert matched == twin.total + router


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "topk"}, "is not one of"),
        ({"experts_per_token": 7}, "more than the 6 experts"),
        ({"kind": "switch"}, "needs experts_per_token=1"),
        ({"experts_per_token": 1, "renormalize": True}, "no gradient"),
        ({"noise": True}, "belongs to kind=keep_top_k"),
        ({"balance": BalanceConfig(0, 0.1, 0, 0, 0)}, "needs noise=true"),
        ({"capacity_factor": 0.0}, "must be positive"),
        ({"layers": [4]}, "from 0 to 3"),
        ({"layers": "some"}, "must be all"),
        ({"balance": BalanceConfig(-1, 0, 0, 0, 0)}, "must not be negative"),
    ],
    ids=str,
)
def test_a_layer_that_makes_no_sense_is_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        model_config(moe_config(**changes)).check()
