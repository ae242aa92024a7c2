import copy
import math

import pytest
import torch
import torch.nn.functional as F

from moefacts.config.presets import compose
from moefacts.models.architecture import parameter_counts
from moefacts.models.packing import Packing
from moefacts.models.recurrence import RGLRU, RecurrentBlock, causal_convolution, lambda_for
from moefacts.models.transformer import build_model, count_parameters
from moefacts.training.optimizer import build_optimizer

G, P = 3, 4
R = G * P
MOE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16"]


def random_unit(keep=(0.9, 0.999), seed=0) -> RGLRU:
    torch.manual_seed(seed)
    unit = RGLRU(G, P)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.normal_()
        unit.lambda_R.copy_(lambda_for(torch.empty(R).uniform_(*keep)))
    return unit


def random_block(d_model=10) -> RecurrentBlock:
    torch.manual_seed(0)
    block = RecurrentBlock(d_model, G, P)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.5)
    return block


def written_out(unit: RGLRU, x: torch.Tensor) -> torch.Tensor:
    """Equations 1 to 4 of the paper in the precision of ``x``, one position and one block at a time."""
    weights = {name: parameter.to(x.dtype) for name, parameter in unit.named_parameters()}

    def gate(name, x_BR):
        parts = [x @ w.T for x, w in zip(x_BR.split(P, dim=1), weights[f"{name}.weight"], strict=True)]
        return torch.sigmoid(torch.cat(parts, dim=1) + weights[f"{name}.bias"])

    state, states = torch.zeros_like(x[:, 0]), []
    for now in x.unbind(1):
        log_a = -8 * torch.log1p(weights["lambda_R"].exp()) * gate("recurrence_gate", now)
        state = log_a.exp() * state + torch.sqrt(1 - (2 * log_a).exp()) * (gate("input_gate", now) * now)
        states.append(state)
    return torch.stack(states, dim=1)


def gradients(output, module, x):
    """The gradients, by name, of a fixed weighted sum of all outputs for the input and every parameter."""
    coefficients = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    names, parameters = zip(*module.named_parameters(), strict=True)
    grads = torch.autograd.grad((output * coefficients).sum(), [x, *parameters])
    return dict(zip(["x", *names], grads, strict=True))


@pytest.mark.parametrize("length", [1, 2, 100, 1000])
@pytest.mark.parametrize("keep", [(0.9, 0.999), (1e-30, 1e-3), (0.9999, 0.999999)], ids=["paper", "forgets", "keeps"])
def test_states_and_gradients_equal_the_equations_in_double_precision(length, keep):
    unit, x = random_unit(keep), torch.randn(2, length, R, requires_grad=True)
    exact, x_exact = copy.deepcopy(unit).double(), x.detach().double().requires_grad_()
    found, expected = unit(x), written_out(exact, x_exact)
    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    expected_gradients = gradients(expected, exact, x_exact)
    for name, gradient in gradients(found, unit, x).items():
        wanted = expected_gradients[name]
        assert torch.allclose(gradient.double(), wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max().item()), name


@pytest.mark.parametrize("bias", [-200.0, 200.0])
def test_saturated_gates_give_finite_gradients(bias):
    unit, x = random_unit(), torch.randn(2, 50, R, requires_grad=True)
    torch.nn.init.constant_(unit.recurrence_gate.bias, bias)
    output = unit(x)
    assert output.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(output, unit, x).values())


def test_a_closed_recurrence_gate_keeps_the_state_and_an_open_one_decays_it_as_lambda_says():
    unit, kept = random_unit(), torch.linspace(0.9, 0.999, R)
    with torch.no_grad():
        unit.lambda_R.copy_(lambda_for(kept))
        for gate in (unit.recurrence_gate, unit.input_gate):
            gate.weight.zero_()
            gate.bias.fill_(200)
    x = torch.zeros(1, 4, R)
    x[:, 0] = 1
    opened = unit(x)[0]
    assert torch.allclose(opened[0], (1 - kept**2).sqrt(), rtol=1e-4)
    assert torch.allclose(opened[3] / opened[0], kept**3, rtol=1e-5)


def test_the_convolution_is_a_sum_over_the_last_four_positions():
    x, taps = torch.randn(2, 7, R), torch.randn(R, 4)
    expected = torch.zeros_like(x)
    for t in range(7):
        for back in range(min(4, t + 1)):
            expected[:, t] += taps[:, 3 - back] * x[:, t - back]
    assert torch.allclose(causal_convolution(x, taps), expected, atol=1e-5)


def test_no_output_depends_on_a_later_input_and_each_on_all_earlier_ones():
    block = random_block()
    dependence = (
        torch.autograd.functional.jacobian(lambda x: block(x)[0], torch.randn(1, 9, 10)).abs().sum(dim=(0, 2, 3, 5))
    )
    earlier = torch.ones(9, 9).tril().bool()
    assert (dependence[~earlier] == 0).all()
    assert (dependence[earlier] > 0).all()


def test_outputs_and_gradients_equal_those_of_the_transformers_library_on_the_same_weights():
    """The library leaves position 0 unscaled, so positions start at 1 here. Its projections' biases are set to zero."""
    theirs_module = pytest.importorskip("transformers.models.recurrent_gemma.modeling_recurrent_gemma")
    from transformers import RecurrentGemmaConfig

    settings = RecurrentGemmaConfig(
        hidden_size=10, lru_width=R, num_attention_heads=G, conv1d_width=4, hidden_activation="gelu"
    )
    theirs, ours = theirs_module.RecurrentGemmaRecurrentBlock(settings, layer_idx=0), random_block()
    places = {
        "value.weight": "linear_x.weight", "gate.weight": "linear_y.weight", "out.weight": "linear_out.weight",
        "taps_RW": "conv_1d.weight", "rg_lru.lambda_R": "rg_lru.recurrent_param",
        "rg_lru.recurrence_gate.weight": "rg_lru.recurrent_gate_weight", "rg_lru.recurrence_gate.bias": "rg_lru.recurrent_gate_bias",
        "rg_lru.input_gate.weight": "rg_lru.input_gate_weight", "rg_lru.input_gate.bias": "rg_lru.input_gate_bias",
    }  # fmt: skip
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        ours.rg_lru.lambda_R.copy_(lambda_for(torch.empty(R).uniform_(0.9, 0.999)))
        for weight in weights.values():
            weight.zero_()
        for name, parameter in ours.named_parameters():
            weights[places[name]].copy_(as_theirs(name, parameter).reshape(weights[places[name]].shape))
    x = torch.randn(2, 11, 10, requires_grad=True)
    found, _ = ours(x)
    expected, _ = theirs(x, torch.arange(1, 12).expand(2, -1), attention_mask=None, use_cache=False)
    assert torch.allclose(found, expected, atol=1e-5)
    expected_gradients = gradients(expected, theirs, x)
    for name, gradient in gradients(found, ours, x).items():
        wanted = expected_gradients[places.get(name, name)]
        assert torch.allclose(as_theirs(name, gradient).reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4), name


def as_theirs(name, tensor):
    """``tensor`` as the library stores it: its gates multiply from the left."""
    return tensor.mT if name.endswith("_gate.weight") else tensor


def test_inside_bf16_autocast_the_recurrence_runs_in_fp32():
    unit, x = random_unit(), torch.randn(2, 200, R).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = unit(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, unit(x.float()).bfloat16())


def recurrent_model(*overrides, vocab=50):
    return build_model(compose(["model=dense_laptop_recurrent", *overrides]).model, vocab, seed=0)


def test_a_fresh_recurrence_starts_as_in_the_paper():
    model = recurrent_model("model.d_head=256", "model.d_model=128", "model.num_layers=1")
    block = model.layers[0].mixer
    power = (-8 * F.softplus(block.rg_lru.lambda_R)).exp()
    assert power.min() >= 0.9 - 1e-4
    assert power.max() <= 0.999 + 1e-4
    assert power.mean().item() == pytest.approx(0.9495, abs=0.005)
    assert power.std().item() == pytest.approx(0.099 / math.sqrt(12), rel=0.05)
    for name, parameter in block.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all()
        elif "lambda" not in name:
            expected = 1 / math.sqrt(parameter.shape[-1]) / (math.sqrt(2) if name == "out.weight" else 1)
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name


@pytest.mark.parametrize("scale", ["laptop", "44m"])
def test_recurrent_presets_are_within_a_percent_of_the_size_with_attention(scale):
    sizes = [
        parameter_counts(compose([f"model=dense_{scale}{suffix}"]).model, vocab_size=600).total
        for suffix in ("", "_recurrent")
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


@pytest.mark.parametrize("moe", [[], MOE], ids=["dense", "moe"])
def test_counts_are_those_of_the_model_and_gradients_reach_every_parameter(moe):
    model = build_model(compose([*moe, "model.mixer=rg_lru", "model.d_head=5"]).model, 50, seed=0)
    assert count_parameters(model) == parameter_counts(model.config, 50)
    tokens = torch.randint(50, (3, 11))
    F.cross_entropy(model(tokens).logits.flatten(0, 1), tokens.roll(-1, 1).flatten()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("moe", [[], MOE], ids=["dense", "moe"])
def test_padding_on_the_right_changes_nothing_before_it(moe):
    model = build_model(compose([*moe, "model.mixer=rg_lru"]).model, 50, seed=0)
    tokens = torch.randint(50, (3, 11))
    padded = torch.cat([tokens, torch.zeros(3, 4, dtype=torch.int64)], dim=1)
    packing = Packing([11] * 3, 15, tokens.device)
    expected = model(tokens).logits
    assert torch.allclose(model(padded).logits[:, :11], expected, atol=1e-5)
    assert torch.allclose(model(padded, packing=packing).logits, expected.flatten(0, 1), atol=1e-5)


def test_weight_decay_spares_lambda_and_biases_and_falls_on_every_matrix(make_config):
    model = recurrent_model()
    decayed = {p for group in build_optimizer(model, make_config().training).param_groups if group["weight_decay"] for p in group["params"]}  # fmt: skip
    spared = {name.rsplit(".", 1)[1] for name, p in model.named_parameters() if p not in decayed and "norm" not in name}
    assert spared == {"lambda_R", "bias"}
