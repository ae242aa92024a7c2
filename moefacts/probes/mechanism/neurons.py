"""Neurons as a key–value memory: what a token's strongest neurons write (Geva et al. 2021, arXiv 2012.14913).

A neuron's key is its row of ``up``, its value v_i its column of ``down``, and a token makes it write a_i · v_i. In a
mixture every expert has its own neurons, and those of experts that a token does not reach write nothing.

Shape legend: N prompts, S neurons of a layer, E experts, F neurons of one, D model width, V vocabulary, A attributes.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from moefacts.models.transformer import Transformer
from moefacts.probes.first_tokens import Candidates
from moefacts.probes.mechanism.interventions import Subject
from moefacts.training.finetuning.sparse_memory import written_by

NUM_STRONGEST = 10


@torch.no_grad()
def amounts(subject: Subject, row_N: Tensor) -> dict[int, Tensor]:
    """|a_i| · ‖v_i‖ of every neuron at one real token of every prompt: layer -> shape (N, S)."""
    found: dict[int, Tensor] = {}
    handles = []
    for number in range(len(subject.model.layers)):

        def note(block, inputs, output, number: int = number) -> None:
            banks = written_by("", block, inputs[0], output[1], row_N)
            found[number] = torch.cat([amount.flatten(1) for amount in banks.values()], dim=1)

        handles.append(subject.model.get_submodule(f"layers.{number}.feed_forward").register_forward_hook(note))
    try:
        subject.hidden()
    finally:
        for handle in handles:
            handle.remove()
    return found


@torch.no_grad()
def written_attributes(model: Transformer, number: int, candidates: list[Candidates]) -> Tensor:
    """The attribute whose value a neuron of layer ``number`` writes: that of the token most promoted by +v_i, (S,).

    Tokens are the first tokens of all attributes' values; a token that several attributes share is no one's (−1).
    """
    token_A = [torch.from_numpy(one.token_C).to(model.unembedding_VD.device) for one in candidates]
    token_C, count_C = torch.cat(token_A).unique(return_counts=True)
    owner_C = torch.full_like(token_C, -1)
    for a, own_C in enumerate(token_A):
        owner_C[torch.isin(token_C, own_C) & (count_C == 1)] = a
    block = model.layers[number].feed_forward
    banks_DS = []
    for part in (getattr(block, "experts", None), getattr(block, "shared", None), block):
        down = getattr(part, "down", None)
        if down is None:
            continue
        weight = down if isinstance(down, Tensor) else down.weight
        banks_DS.append(weight.movedim(-2, 0).flatten(1))
    value_DS = torch.cat(banks_DS, dim=1)
    read_SC = (model.final_norm.weight[:, None] * value_DS).T @ model.unembedding_VD[token_C].T
    return owner_C[read_SC.argmax(dim=1)]


@torch.no_grad()
def memories(subject: Subject, candidates: list[Candidates]) -> Iterator[tuple[str, str, int, Tensor]]:
    """Every measure by attribute: (measure, place, layer, value).

    ``concentration`` is 1 minus the share of neurons that would write as much if all wrote alike, (Σm)² / (S · Σm²)
    with m = |a_i| · ‖v_i‖. ``own values`` is the share of the ten strongest neurons that write a value of the attribute
    asked for, and ``own values by chance`` that of all neurons.
    """
    for place, row_N in (("name", subject.name_end_N), ("value", subject.last_N)):
        for layer, amount_NS in amounts(subject, row_N).items():
            amount_NS = amount_NS.double()
            alike_N = amount_NS.sum(dim=1) ** 2 / (amount_NS**2).sum(dim=1).clamp_min(1e-30) / amount_NS.shape[1]
            yield "concentration", place, layer, 1 - subject.by_attribute(alike_N)
            attribute_N1 = torch.from_numpy(subject.prompts.attribute_N).to(amount_NS.device)[:, None]
            written_S = written_attributes(subject.model, layer, candidates)
            strongest_NK = amount_NS.topk(min(NUM_STRONGEST, amount_NS.shape[1]), dim=1).indices
            is_own_N = (written_S[strongest_NK] == attribute_N1).double().mean(dim=1)
            yield "own values", place, layer, subject.by_attribute(is_own_N)
            by_chance_N = (written_S == attribute_N1).double().mean(dim=1)
            yield "own values by chance", place, layer, subject.by_attribute(by_chance_N)
