"""The mixture of experts on one CPU thread, against the dense model, ``transformers`` and other ways to dispatch.

Steps are training steps on the same batches at laptop scale. The layer of ``transformers`` is its Mixtral block
(8 experts, top-2, gated SiLU) with the same weights and tokens. A check that the outputs agree comes first.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.setting import Result, Row, Setting, TrainingCase, comparison_rows
from benchmarks.timing import compare
from moefacts.config.presets import compose
from moefacts.models.kernels import expert_products as products
from moefacts.models.moe import MixtureOfExperts, dispatch

TOKENS = 8192
STEP_GOAL, LAYER_GOAL = 1.35, 1.0


def forward_backward(layer: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Callable[[], None]:
    """A function that makes one forward and backward pass through a layer."""

    def run() -> None:
        layer(x).sum().backward()

    return run


def against_transformers(tokens: int, d_model: int, d_expert: int) -> dict[str, Callable[[], None]]:
    """Our layer and the Mixtral block of the installed ``transformers``, with equal weights."""
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    moe = compose(["model=moe_laptop", f"model.moe.d_expert={d_expert}"]).model.moe
    assert moe is not None
    ours = MixtureOfExperts(d_model, "swiglu", moe)
    settings = MixtralConfig(
        hidden_size=d_model, intermediate_size=d_expert, num_local_experts=8, num_experts_per_tok=2, hidden_act="silu"
    )
    theirs = {}
    for implementation in ("eager", "grouped_mm"):
        settings._experts_implementation = implementation
        theirs[implementation] = MixtralSparseMoeBlock(settings)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.05)
        weights = {
            "gate.weight": ours.router.score.weight,
            "experts.gate_up_proj": torch.cat([ours.experts.gate, ours.experts.up], dim=1),
            "experts.down_proj": ours.experts.down,
        }
        for block in theirs.values():
            block.load_state_dict(weights)
    x = torch.randn(1, tokens, d_model, requires_grad=True)
    expected = ours(x[0])[0]
    candidates = {"moefacts": forward_backward(lambda x: ours(x[0])[0], x)}
    for implementation, block in theirs.items():
        assert torch.allclose(block(x).view_as(expected), expected, atol=1e-4), implementation
        candidates[f"transformers {implementation}"] = forward_backward(block, x)
    return candidates


def dispatches(tokens: int, d_model: int, d_expert: int) -> dict[str, Callable[[], None]]:
    """Ways to send tokens to their experts and back; the first is the one in use."""
    moe = compose(["model=moe_laptop", f"model.moe.d_expert={d_expert}"]).model.moe
    assert moe is not None
    layer = MixtureOfExperts(d_model, "gelu", moe)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.05)
    x = torch.randn(tokens, d_model, requires_grad=True)

    def sort_with(grouped: bool, inverse: bool):
        def run(x: torch.Tensor) -> torch.Tensor:
            routing = layer.router(x)
            order_A, count_E = dispatch(routing)
            x_AD = x.index_select(0, routing.token_A[order_A])
            weights = (layer.experts.up, layer.experts.gate, layer.experts.down, layer.experts.activation)
            if grouped:
                y_AD = products.grouped(x_AD, count_E, *weights)
            else:
                y_AD = torch.cat(products.split(x_AD, count_E, *weights))
            y_AD = y_AD * routing.weight_A[order_A, None]
            if inverse:
                return y_AD.index_select(0, order_A.argsort()).view(tokens, 2, -1).sum(dim=1)
            return torch.zeros_like(x).index_add_(0, routing.token_A[order_A], y_AD)

        return run

    def where_loop(x: torch.Tensor) -> torch.Tensor:
        routing = layer.router(x)
        weight_NK, out = routing.weight_A.view_as(routing.expert_NK), torch.zeros_like(x)
        for expert in range(moe.num_experts):
            row, place = torch.where(routing.expert_NK == expert)
            out.index_add_(0, row, layer.experts.one(x[row], expert) * weight_NK[row, place, None])
        return out

    def all_experts(x: torch.Tensor) -> torch.Tensor:
        routing = layer.router(x)
        weights_NE = torch.zeros(tokens, moe.num_experts).scatter(
            1, routing.expert_NK, routing.weight_A.view_as(routing.expert_NK)
        )
        hidden_ENF = F.gelu(x @ layer.experts.up.transpose(1, 2))
        return torch.einsum("end,ne->nd", hidden_ENF @ layer.experts.down.transpose(1, 2), weights_NE)

    ways = {
        "in use": lambda x: layer(x)[0],
        "sort, split, join, index_add": sort_with(grouped=False, inverse=False),
        "sort, split, join, inverse gather": sort_with(grouped=False, inverse=True),
        "sort, grouped products, index_add": sort_with(grouped=True, inverse=False),
        "sort, grouped products, inverse gather": sort_with(grouped=True, inverse=True),
        "where and index_add loop": where_loop,
        "all experts, masked": all_experts,
    }
    return {name: forward_backward(way, x) for name, way in ways.items()}


def run(setting: Setting, tokens: int = TOKENS) -> Result:
    """Measure every comparison; each ratio is over the first candidate, which is the one that moefacts uses."""
    torch.set_num_threads(1)
    presets = ("dense_laptop", "moe_laptop", "moe_laptop_switch", "moe_laptop_total", "moe_laptop_switch_total")
    steps = {name: TrainingCase(setting.config(f"model={name}")).stepper() for name in presets}
    comparisons = {
        "training step": steps,
        f"layer, {tokens} tokens, d 64, expert 128": against_transformers(tokens, 64, 128),
        f"layer, {tokens} tokens, d 512, expert 128": against_transformers(tokens, 512, 128),
        f"dispatch, {tokens} tokens, d 64, expert 128": dispatches(tokens, 64, 128),
        f"dispatch, {tokens} tokens, d 512, expert 128": dispatches(tokens, 512, 128),
        f"dispatch, {tokens // 8} tokens, d 64, expert 128": dispatches(tokens // 8, 64, 128),
    }
    return compare(comparisons, setting.rounds)


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""

    def goal(title: str, name: str, ratio: float) -> tuple[str, bool | None]:
        if (title, name) == ("training step", "moe_laptop"):
            return f"≤ {STEP_GOAL}", ratio <= STEP_GOAL
        return (f"≥ {LAYER_GOAL}", ratio >= LAYER_GOAL) if title.startswith("layer") else ("", None)

    return comparison_rows(result, goal)
