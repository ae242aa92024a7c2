"""The mixture-of-experts layer equals a naive reference and satisfies the identities that follow from its formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from moefacts.models.architecture import BalanceConfig, MoEConfig
from moefacts.models.feed_forward import FeedForward
from moefacts.models.moe import MixtureOfExperts

D, F_WIDTH, E, N = 12, 8, 6, 40


def moe_config(**changes) -> MoEConfig:
    values = {
        "kind": "top_k", "num_experts": E, "experts_per_token": 2, "d_expert": F_WIDTH, "num_shared": 0,
        "renormalize": False, "noise": False, "capacity_factor": None, "layers": "all",
        "balance": BalanceConfig(0.0, 0.0, 0.0, 0.0, 0.0),
    }  # fmt: skip
    return MoEConfig(**(values | changes))


KINDS = {
    "soft": {"kind": "soft"},
    "top2": {},
    "top2 renormalised": {"renormalize": True},
    "top1": {"experts_per_token": 1},
    "all of them": {"experts_per_token": E},
    "switch": {"kind": "switch", "experts_per_token": 1},
    "keep_top_k": {"kind": "keep_top_k"},
    "noisy keep_top_k": {"kind": "keep_top_k", "noise": True},
    "expert_choice": {"kind": "expert_choice"},
    "shared": {"num_shared": 2},
    "capacity 0.6": {"capacity_factor": 0.6},
    "one expert": {"num_experts": 1, "experts_per_token": 1},
}


def build(activation="gelu", **changes) -> MixtureOfExperts:
    layer = MixtureOfExperts(D, activation, moe_config(**changes)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.7)
    layer.router.float()  # scores are computed in fp32
    return layer


def inputs(num_tokens=N, seed=1):
    return torch.randn(num_tokens, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_expert(layer, e, x):
    """One expert on one token."""
    up = layer.experts.up[e] @ x
    if layer.experts.gate is not None:
        gate = layer.experts.gate[e] @ x
        return layer.experts.down[e] @ (gate * torch.sigmoid(gate) * up)
    return layer.experts.down[e] @ (F.gelu(up) if layer.experts.activation == "gelu" else torch.relu(up))


def naive_layer(layer, x_ND, noise_NE=None, order=None):
    """The layer written as a loop over tokens and experts, from the formulas alone.

    ``order``: how tokens with equal choices queue for an expert of limited capacity.
    """
    config = layer.config
    scores = [(layer.router.score.weight @ x.float()) for x in x_ND]
    if noise_NE is not None:
        stds = [F.softplus(layer.router.noise.weight @ x.float()) for x in x_ND]
        scores = [score + noise * std for score, noise, std in zip(scores, noise_NE, stds, strict=True)]
    k, num_experts = config.experts_per_token, config.num_experts
    full = set()  # (token, expert) that find no room
    if config.capacity_factor is not None:
        ranked_by_token = [score.argsort(descending=True).tolist() for score in scores]
        queues = {
            e: [n for rank in range(k) for n in order if ranked_by_token[n][rank] == e] for e in range(num_experts)
        }
        room = math.ceil(config.capacity_factor * len(x_ND) * k / num_experts)
        full = {(n, e) for e, queue in queues.items() for n in queue[room:]}
    takers = None
    if config.kind == "expert_choice":
        gates = torch.stack(scores).softmax(1)
        takes = max(1, min(len(x_ND), len(x_ND) * k // num_experts))
        takers = [set(gates[:, e].argsort(descending=True)[:takes].tolist()) for e in range(num_experts)]
    rows = []
    for n, (x, score) in enumerate(zip(x_ND, scores, strict=True)):
        gate = score.softmax(0)
        ranked = score.argsort(descending=True).tolist()
        if config.kind == "soft":
            weights = {e: gate[e] for e in range(num_experts)}
        elif takers is not None:
            weights = {e: gate[e] for e in range(num_experts) if n in takers[e]}
        else:
            chosen = ranked[:k]
            if config.kind == "keep_top_k":
                left = torch.stack([score[e] for e in chosen]).softmax(0)
                weights = dict(zip(chosen, left, strict=True))
            else:
                total = sum(gate[e] for e in chosen) if config.renormalize else 1.0
                weights = {e: gate[e] / total for e in chosen}
            weights = {e: w for e, w in weights.items() if (n, e) not in full}
        row = sum((w.double() * naive_expert(layer, e, x) for e, w in weights.items()), torch.zeros(D).double())
        rows.append(row if layer.shared is None else row + layer.shared(x)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("activation", ["gelu", "relu", "swiglu"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_equals_the_loop_over_tokens_in_outputs_and_gradients(kind, activation):
    layer = build(activation, **KINDS[kind])
    noise = order = None
    torch.manual_seed(5)
    if layer.config.noise:
        noise = torch.randn(N, E)
    if layer.config.capacity_factor is not None:
        order = torch.rand(N).argsort().tolist()
    results = []
    for forward in (lambda x: layer(x)[0], lambda x: naive_layer(layer, x, noise, order)):
        torch.manual_seed(5)
        layer.zero_grad()
        x = inputs().requires_grad_()
        y = forward(x)
        (y * inputs(seed=2)).sum().backward()
        gradients = {name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None}
        results.append((y.detach(), x.grad, gradients))
    (fast, fast_x, fast_grads), (slow, slow_x, slow_grads) = results
    assert torch.allclose(fast, slow, atol=1e-5)
    assert torch.allclose(fast_x, slow_x, atol=1e-4)
    for name, expected in slow_grads.items():
        assert torch.allclose(fast_grads[name], expected, atol=1e-4), name
    for name in fast_grads.keys() - slow_grads.keys():
        assert fast_grads[name].abs().sum() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_of_one_token_works(kind):
    layer = build(**KINDS[kind])
    assert layer(inputs(1))[0].shape == (1, D)


def dense_twin(layer):
    """The dense block with the weights of expert 0."""
    dense = FeedForward(D, F_WIDTH, "gelu").double()
    dense.load_state_dict({"up.weight": layer.experts.up[0], "down.weight": layer.experts.down[0]})
    return dense


def test_one_expert_is_the_dense_block():
    layer = build(num_experts=1, experts_per_token=1)
    assert torch.allclose(layer(inputs())[0], dense_twin(layer)(inputs())[0], atol=1e-7)


@pytest.mark.parametrize(
    "changes", [{"kind": "soft"}, {"renormalize": True}, {"kind": "keep_top_k"}, {"experts_per_token": E}], ids=str
)
def test_identical_experts_whose_gates_sum_to_one_are_the_dense_block(changes):
    layer = build(**changes)
    with torch.no_grad():
        for weight in (layer.experts.up, layer.experts.down):
            weight.copy_(weight[:1].expand_as(weight))
    assert torch.allclose(layer(inputs())[0], dense_twin(layer)(inputs())[0], atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("one expert", "noisy keep_top_k")])
def test_permuting_experts_with_their_router_columns_changes_nothing(kind):
    layer, permuted = build(**KINDS[kind]).eval(), build(**KINDS[kind]).eval()
    order = torch.randperm(E, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        permuted.router.score.weight.copy_(layer.router.score.weight[order])
        for name in ("up", "down"):
            getattr(permuted.experts, name).copy_(getattr(layer.experts, name)[order])
    assert torch.allclose(layer(inputs())[0], permuted(inputs())[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["top2", "switch", "keep_top_k", "all of them", "capacity 0.6"])
def test_assignments_are_conserved(kind):
    _, routing = build(**KINDS[kind])(inputs())
    k = build(**KINDS[kind]).config.experts_per_token
    assert routing.load_E.sum() == N * k
    assert torch.bincount(routing.token_A, minlength=N).tolist() == [k] * N


def test_experts_that_choose_take_equal_numbers_of_tokens():
    _, routing = build(**KINDS["expert_choice"])(inputs())
    assert routing.load_E.tolist() == [N * 2 // E] * E


def test_gates_of_keep_top_k_are_exactly_zero_elsewhere_and_sum_to_one():
    _, routing = build(kind="keep_top_k")(inputs())
    assert ((routing.gates_NE > 0).sum(dim=1) == 2).all()
    assert torch.allclose(routing.gates_NE.sum(dim=1), torch.ones(N))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "one expert"])
def test_gradient_reaches_the_router(kind):
    layer = build(**KINDS[kind])
    layer(inputs())[0].square().sum().backward()
    assert layer.router.score.weight.grad.abs().sum() > 0


def test_noise_is_for_training_only_and_follows_the_seed():
    layer = build(kind="keep_top_k", noise=True)

    def run(seed):
        torch.manual_seed(seed)
        return layer(inputs())[0]

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    layer.eval()
    assert torch.equal(run(0), run(1))


def test_an_expert_without_tokens_breaks_nothing_and_gets_no_gradient():
    layer = build(experts_per_token=1)
    layer.router.selection_bias_E[:] = torch.tensor([0.0, 0, 0, -1e9, 0, 0])
    y, routing = layer(inputs())
    y.sum().backward()
    assert routing.load_E[3] == 0
    assert layer.experts.up.grad[3].abs().sum() == 0
    assert torch.isfinite(layer.experts.up.grad).all()


def test_the_selection_bias_chooses_but_does_not_weigh():
    layer = build(experts_per_token=1)
    layer.router.selection_bias_E[2] = 1e9
    _, routing = layer(inputs())
    assert (routing.expert_NK == 2).all()
    gates = layer.router.score(inputs().float()).softmax(dim=1)
    assert torch.allclose(routing.weight_A, gates[:, 2])


NUM_TOKENS = 20_000  # so many that both numbers of experts are applied one by one, not as grouped products


def saved_bytes(num_experts):
    """The bytes that a forward pass keeps for its backward pass, without the weights."""
    layer = MixtureOfExperts(64, "gelu", moe_config(num_experts=num_experts, d_expert=64))
    torch.nn.init.normal_(layer.router.score.weight)
    for weight in (layer.experts.up, layer.experts.down):
        torch.nn.init.normal_(weight, std=0.1)
    weights = {parameter.untyped_storage().data_ptr() for parameter in layer.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output, _ = layer(torch.randn(NUM_TOKENS, 64, requires_grad=True))
    assert output.shape == (NUM_TOKENS, 64)
    return sum(kept.values())


def test_memory_for_the_backward_pass_grows_with_the_number_of_experts_only_by_their_scores():
    few, many = saved_bytes(4), saved_bytes(32)
    score_bytes = NUM_TOKENS * 4 * (32 - 4)  # one fp32 table of scores
    assert many - few < 4 * score_bytes
    assert many < 1.5 * few
