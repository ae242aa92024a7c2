"""The training step against its floor: the matrix products that it cannot avoid, timed alone in the same process.

The floor of a layer consists of projections and attention. The projections are those to queries, keys and values, the
one out of attention, and the two (gated: three) of the feed-forward block. In a mixture, the router and every expert's
projections replace the latter, on as many rows as were really routed to the expert. Each projection counts as three
products (forward, input gradient, weight gradient) with one row per token that is not padding. Attention counts as two
products forward and four backward per head. Their length is that of the longest of the few sequences that attend side
by side. They are full squares, because at these lengths a product cannot leave out the half that the causal mask hides.
Finally, the vocabulary head counts as three products. No input gradient is left out, because the embedding needs that
of the first layer. Results are written into existing memory.

``ratio`` makes every product as a whole. ``ratio_in_parts`` is against the lowest floor we know: scores and logits,
which nothing later needs, are made one part at a time so that they stay in the processor's cache. Nothing else is
counted: no softmax, norm, activation, rotation, loss, gradient norm, optimizer or data.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.setting import Result, Row, Setting, TrainingCase, ratio_text
from benchmarks.timing import time_side_by_side
from moefacts.models.feed_forward import FeedForward
from moefacts.models.layer import DecoderLayer
from moefacts.models.moe import MixtureOfExperts
from moefacts.training.pack import pack

GOALS = {"dense": 1.35, "moe": 1.5}
_PRESETS = {"dense": "dense_laptop", "moe": "moe_laptop"}
_NUMBERS_IN_CACHE = 1 << 17  # the number of scores or logits in one part


class Products:
    """Matrix products of given shapes, ready to run; ``flops`` counts two for every multiplication."""

    def __init__(self, device: torch.device, dtype: torch.dtype, in_parts: bool):
        self._new: dict[str, Any] = {"device": device, "dtype": dtype}
        self._in_parts = in_parts
        self._run: list[Callable[[], object]] = []
        self.flops = 0

    def _part_of(self, count: int, numbers_each: int) -> int:
        return max(1, min(count, _NUMBERS_IN_CACHE // numbers_each)) if self._in_parts else count

    def linear(self, rows: int, d_in: int, d_out: int) -> None:
        """Add the forward product, input gradient and weight gradient of a projection."""
        if rows == 0:
            return
        x, gradient = torch.randn(rows, d_in, **self._new), torch.randn(rows, d_out, **self._new)
        weight = torch.randn(d_out, d_in, **self._new)
        y, x_gradient, weight_gradient = (torch.empty_like(tensor) for tensor in (gradient, x, weight))

        def run() -> None:
            torch.mm(x, weight.T, out=y)
            torch.mm(gradient, weight, out=x_gradient)
            torch.mm(gradient.T, x, out=weight_gradient)

        self._run.append(run)
        self.flops += 6 * rows * d_in * d_out

    def head(self, rows: int, d_model: int, vocab_size: int) -> None:
        """Add those of the vocabulary head, whose logits are needed only once, so a few rows at a time suffice."""
        group = self._part_of(rows, vocab_size)
        x, weight = torch.randn(rows, d_model, **self._new), torch.randn(vocab_size, d_model, **self._new)
        logits = torch.empty(group, vocab_size, **self._new)
        x_gradient, weight_gradient = torch.empty_like(x), torch.zeros_like(weight)

        def run() -> None:
            for start in range(0, rows, group):
                part = slice(start, min(start + group, rows))
                logits_gradient = torch.mm(x[part], weight.T, out=logits[: part.stop - start])
                torch.mm(logits_gradient, weight, out=x_gradient[part])
                weight_gradient.addmm_(logits_gradient.T, x[part], beta=0 if start == 0 else 1)

        self._run.append(run)
        self.flops += 6 * rows * d_model * vocab_size

    def attention(self, heads: int, length: int, d_head: int) -> None:
        """Add scores and mixtures of ``heads`` heads (batch included), and gradients of queries, keys and values."""
        group = self._part_of(heads, length**2)
        q, k, v, gradient = (torch.randn(heads, length, d_head, **self._new) for _ in range(4))
        results = [torch.empty(heads, length, d_head, **self._new) for _ in range(4)]
        square, square_gradient = (torch.empty(group, length, length, **self._new) for _ in range(2))

        def run() -> None:
            for start in range(0, heads, group):
                part = slice(start, min(start + group, heads))
                scores, scores_gradient = square[: part.stop - start], square_gradient[: part.stop - start]
                mixed, q_gradient, k_gradient, v_gradient = (result[part] for result in results)
                torch.bmm(q[part], k[part].mT, out=scores)
                torch.bmm(scores, v[part], out=mixed)
                torch.bmm(scores.mT, gradient[part], out=v_gradient)
                torch.bmm(gradient[part], v[part].mT, out=scores_gradient)
                torch.bmm(scores_gradient, k[part], out=q_gradient)
                torch.bmm(scores_gradient.mT, q[part], out=k_gradient)

        self._run.append(run)
        self.flops += 12 * heads * length**2 * d_head

    @torch.no_grad()
    def __call__(self) -> None:
        """Compute all products once."""
        for run in self._run:
            run()


def unavoidable_products(case: TrainingCase, in_parts: bool) -> Products:
    """The floor of a step on the first batch of ``case``."""
    model, batch, config = case.materials.model, case.batches[0], case.config.model
    with case.step.autocast():
        is_bf16 = torch.is_autocast_enabled(case.materials.device.type)
    products = Products(case.materials.device, torch.bfloat16 if is_bf16 else torch.float32, in_parts)
    packing = pack(batch)
    rows, matrices = batch.num_targets, 3 if config.activation == "swiglu" else 2
    counts = rows_of_experts(case)
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, DecoderLayer)
        width = config.num_heads * config.d_head
        products.linear(rows, config.d_model, 3 * width)
        for bucket in packing.buckets:
            products.attention(config.num_heads * bucket.num_rows, bucket.width, config.d_head)
        products.linear(rows, width, config.d_model)
        blocks = [(rows, config.d_hidden)] if isinstance(layer.feed_forward, FeedForward) else []
        if isinstance(layer.feed_forward, MixtureOfExperts):
            moe = layer.feed_forward.config
            products.linear(rows, config.d_model, moe.num_experts)
            blocks = [(count, moe.d_expert) for count in counts[number]]
            blocks += [(rows, moe.num_shared * moe.d_expert)] if moe.num_shared else []
        for block_rows, d_hidden in blocks:
            for _ in range(matrices - 1):
                products.linear(block_rows, config.d_model, d_hidden)
            products.linear(block_rows, d_hidden, config.d_model)
    products.head(rows, config.d_model, model.vocab_size)
    return products


@torch.no_grad()
def rows_of_experts(case: TrainingCase) -> dict[int, list[int]]:
    """The number of tokens of the first batch that each expert receives, by layer; empty for a dense model."""
    if case.config.model.moe is None:
        return {}
    batch = case.batches[0]
    with case.step.autocast():
        routings = case.materials.model(batch.inputs_BT, pack(batch)).routings
    num_experts = case.config.model.moe.num_experts
    return {
        layer: torch.bincount(routing.expert_A[routing.kept_A], minlength=num_experts).tolist()
        for layer, routing in routings.items()
    }


def run(setting: Setting) -> Result:
    """Measure steps and floors of the dense model and of the mixture in turns."""
    candidates: dict[str, Callable[[], object]] = {}
    gflop = {}
    for name, preset in _PRESETS.items():
        case = TrainingCase(setting.config(f"model={preset}"), num_batches=1)
        floor, in_parts = (unavoidable_products(case, in_parts) for in_parts in (False, True))
        gflop[name] = floor.flops / 1e9
        candidates |= {f"{name} step": case.stepper(), f"{name} floor": floor, f"{name} floor in parts": in_parts}
    timings = time_side_by_side(candidates, setting.rounds)
    return {
        name: timings[f"{name} step"].over(timings[f"{name} floor"]).as_ratio()
        | {
            "ratio_in_parts": timings[f"{name} step"].over(timings[f"{name} floor in parts"]).median,
            "step": timings[f"{name} step"].as_milliseconds(),
            "floor": timings[f"{name} floor"].as_milliseconds(),
            "floor_gflop": gflop[name],
        }
        for name in _PRESETS
    }


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    table = []
    for name, goal in GOALS.items():
        measured = result[name]
        milliseconds = f"{measured['step']['median_ms']:.0f} ms / {measured['floor']['median_ms']:.0f} ms"
        ratio = measured["ratio"]
        table.append(Row(f"{name} step / its floor ({milliseconds})", ratio_text(measured), f"≤ {goal}", ratio <= goal))
        table.append(Row(f"{name} step / its floor in parts", f"{measured['ratio_in_parts']:.2f}"))
    return table
