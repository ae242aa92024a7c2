"""Sparse memory fine-tuning (Lin et al. 2025, arXiv 2510.15103), with the neurons of feed-forward blocks as memory.

A slot is a neuron: its row of ``up`` and ``gate``, which decides when it is active, and its column of ``down``, which
it then writes. In a mixture every expert has its own.

Shape legend: N tokens, P those at which memories are read, S slots of a layer, E experts, F neurons, D model width.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from moefacts.config.schema import RunConfig
from moefacts.models.feed_forward import FeedForward
from moefacts.models.kernels.mlp import activate
from moefacts.models.moe import MixtureOfExperts, Routing
from moefacts.models.packing import Packing
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.randomness import stream_key
from moefacts.training.finetuning.experts import output_weights
from moefacts.training.method import Method, measuring
from moefacts.training.pack import pack


class SparseMemory(Method):
    """Only the ``method.num_slots`` neurons learn that new people use most and old people least, by ``slot_scores``."""

    def __init__(self, config: RunConfig, model: Transformer, batcher: Batcher | None = None):
        super().__init__(config, model, batcher)
        assert batcher is not None
        assert config.method.num_slots is not None
        score_by_bank = slot_scores(config, model, batcher)
        score_S = torch.cat([score.flatten() for score in score_by_bank.values()])
        chosen_S = torch.zeros_like(score_S, dtype=torch.bool)
        chosen_S[score_S.argsort(descending=True, stable=True)[: config.method.num_slots]] = True
        parts = chosen_S.split([score.numel() for score in score_by_bank.values()])
        self.chosen = {  # name of a bank -> whether a neuron learns, shape (F,) or (E, F)
            name: part.view_as(score) for (name, score), part in zip(score_by_bank.items(), parts, strict=True)
        }

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether it holds neurons that learn."""
        bank, _ = _place(name)
        return bank in self.chosen and bool(self.chosen[bank].any())

    def entries(self, name: str, parameter: nn.Parameter) -> Tensor:
        """True for the chosen neurons: rows of ``up`` and ``gate``, columns of ``down``."""
        bank, matrix = _place(name)
        return self.chosen[bank][..., None, :] if matrix == "down" else self.chosen[bank][..., None]


def _place(parameter: str) -> tuple[str, str]:
    """The bank that a parameter is part of if it is one of a feed-forward block's matrices, and which matrix it is."""
    bank, _, matrix = parameter.removesuffix(".weight").rpartition(".")
    return bank, matrix


@torch.no_grad()
def slot_scores(config: RunConfig, model: Transformer, batcher: Batcher) -> dict[str, Tensor]:
    """How much more new people use a slot than old people do: c_i / Σc · ln((B + 1) / (df_i + 1)), their TF-IDF.

    c_i is how often tokens of the people who are learned use slot i (see ``uses``), in ``method.batches`` batches; df_i
    is in how many of B = ``method.batches`` batches of ``method.cohort`` a token uses it at all.

    Returns:
        Name of a bank of neurons -> score of every neuron, shape (F,) or (E, F).
    """
    assert config.method.batches is not None
    assert config.method.cohort is not None
    num_batches, size, most = config.method.batches, config.training.batch_size, config.method.slots_per_token
    assert most is not None

    def used(cohort: str) -> Iterator[dict[str, Tensor]]:
        for number in range(num_batches):
            yield uses(model, batcher.cohort_batch(cohort, "slots", number, size), most)

    count: dict[str, Tensor] = {}
    frequency: dict[str, Tensor] = {}
    with measuring(model, stream_key(config.seed, "slots")):
        for found in used(config.sampling.cohort):
            count = {name: count.get(name, 0) + amount for name, amount in found.items()}
        for found in used(config.method.cohort):
            frequency = {name: frequency.get(name, 0) + (amount > 0) for name, amount in found.items()}
    total = torch.stack([amount.sum() for amount in count.values()]).sum()
    return {
        name: amount / total * torch.log((num_batches + 1) / (frequency[name] + 1)) for name, amount in count.items()
    }


def uses(model: Transformer, batch: Batch, most: int) -> dict[str, Tensor]:
    """How many tokens use each slot.

    Where a name ends and where a value's token is predicted, a token uses the ``most`` slots of every layer that write
    most: those with the largest |a_i| · ‖v_i‖, a_i being the activation, times the expert's weight in a mixture, and
    v_i the column of ``down``.

    Returns:
        Name of a bank of neurons -> number of tokens, shape (F,) or (E, F).
    """
    packing = pack(batch)
    at_P = _reading_places(batch, packing)
    written: dict[str, dict[str, Tensor]] = {}
    hooks = []
    for name, block in model.named_modules():
        if name.endswith(".feed_forward"):

            def note(block: nn.Module, inputs: tuple, output: tuple, name: str = name) -> None:
                written[name] = written_by(name, block, inputs[0], output[1], at_P)

            hooks.append(block.register_forward_hook(note))
    try:
        model(batch.inputs_BT, packing)
    finally:
        for hook in hooks:
            hook.remove()
    counts: dict[str, Tensor] = {}
    for banks in written.values():
        amount_PS = torch.cat([amount.flatten(1) for amount in banks.values()], dim=1)
        largest = amount_PS.topk(min(most, amount_PS.shape[1]), dim=1)
        count_S = torch.bincount(largest.indices[largest.values > 0], minlength=amount_PS.shape[1]).double()
        parts = count_S.split([amount[0].numel() for amount in banks.values()])
        counts |= {name: part.view_as(amount[0]) for (name, amount), part in zip(banks.items(), parts, strict=True)}
    return counts


def _reading_places(batch: Batch, packing: Packing) -> Tensor:
    """The real tokens that end a name or whose next token is part of a value, shape (P,)."""
    now_BT, next_BT = batch.role_BT[:, :-1], batch.role_BT[:, 1:]
    ends_name_BT = (now_BT == Role.LAST_NAME) & (next_BT != Role.LAST_NAME)
    wanted_N = (ends_name_BT | (batch.attribute_BT[:, 1:] >= 0)).flatten()[packing.real_N]
    return wanted_N.nonzero().squeeze(1)


def written_by(name: str, block: nn.Module, x_ND: Tensor, routing: Routing | None, at_P: Tensor) -> dict[str, Tensor]:
    """|a_i| · ‖v_i‖ of every neuron of a feed-forward block, by bank, shape (P, F) or (P, E, F)."""
    x_PD = x_ND[at_P]
    if isinstance(block, FeedForward):
        gate_FD = None if block.gate is None else block.gate.weight
        active_PF = _active(x_PD, block.up.weight, gate_FD, block.activation)
        return {name: active_PF * block.down.weight.norm(dim=0)}
    assert isinstance(block, MixtureOfExperts)
    assert routing is not None
    experts = block.experts
    active_PEF = _active(x_PD, experts.up, experts.gate, experts.activation)
    weight_PE1 = output_weights(routing, block.config)[at_P, :, None]
    banks = {f"{name}.experts": active_PEF * experts.down.norm(dim=1) * weight_PE1}
    if block.shared is not None:
        banks |= written_by(f"{name}.shared", block.shared, x_ND, None, at_P)
    return banks


def _active(x_PD: Tensor, up: Tensor, gate: Tensor | None, activation: str) -> Tensor:
    """The size of every neuron's activation; ``up`` and ``gate`` have shape (F, D) or (E, F, D)."""
    up_P, gate_P = (None if weight is None else torch.tensordot(x_PD, weight, ([1], [-1])) for weight in (up, gate))
    assert up_P is not None
    return activate(up_P, gate_P, activation).abs()
