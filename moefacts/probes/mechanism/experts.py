"""Which facts need which expert: each is silenced, or sees another person's token in place of its own.

Shape legend: N prompts, M real tokens, A assignments of a token to an expert, D model width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from torch import Tensor, nn

from moefacts.models.moe import MixtureOfExperts, Routing
from moefacts.models.packing import picked
from moefacts.models.transformer import Transformer
from moefacts.probes.mechanism.ablation import SWAP, ZERO
from moefacts.probes.mechanism.interventions import Subject, mixture_layers
from moefacts.probes.mechanism.table import NUM_PEOPLE
from moefacts.runs.tables import MECHANISM_EXPERTS
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.prompts import prompt_pairs

_SOFT = "soft"


def weight_of(expert: int, kind: str, routing: Routing) -> Tensor:
    """The weight of one expert in the output for every token, 0 where it has no part: (M,)."""
    if kind == _SOFT:
        return routing.gates_NE[:, expert]
    part_A = routing.weight_A * (routing.kept_A & (routing.expert_A == expert))
    return routing.gates_NE.new_zeros(len(routing.gates_NE)).index_add(0, routing.token_A, part_A)


@contextmanager
def expert_changed(subject: Subject, layer: int, expert: int, seen_MD: Tensor | None = None) -> Iterator[None]:
    """A context in which one expert of a mixture adds nothing, or what it adds to other tokens.

    Routers see what they always see, and weights stay: an expert that is silenced is not replaced.

    Args:
        subject: the model and the prompts.
        layer: a layer that is a mixture.
        expert: the number of the expert.
        seen_MD: what the expert sees in place of its real tokens; None silences it.
    """
    mixture = _mixture(subject.model, layer)

    def hook(_: nn.Module, arguments: tuple[Any, ...], output: tuple[Tensor, Routing]) -> tuple[Tensor, Routing]:
        x_MD, row_R = arguments[0].flatten(0, -2), arguments[1] if len(arguments) > 1 else None
        mixed, routing = output
        change_MD = -mixture.experts.one(x_MD, expert)
        if seen_MD is not None:
            change_MD = change_MD + mixture.experts.one(seen_MD.to(x_MD.dtype), expert)
        weight_M1 = weight_of(expert, mixture.config.kind, routing)[:, None].to(x_MD.dtype)
        return mixed + picked(weight_M1 * change_MD, row_R).view_as(mixed), routing

    handle = mixture.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def experts_used(subject: Subject, layer: int) -> dict[int, float]:
    """Expert -> its share of the weight of all real tokens; experts that no token uses are left out."""
    mixture, found = _mixture(subject.model, layer), {}

    def keep(_: nn.Module, __: tuple[Any, ...], output: tuple[Tensor, Routing]) -> None:
        for expert in range(mixture.config.num_experts):
            if share := float(weight_of(expert, mixture.config.kind, output[1]).double().mean()):
                found[expert] = share

    handle = mixture.register_forward_hook(keep)
    try:
        subject.hidden()
    finally:
        handle.remove()
    return found


def losses_by_expert(subject: Subject, other: Subject) -> Iterator[tuple[int, int, str, float, Tensor]]:
    """What every prompt loses without each expert.

    Args:
        subject: the model and the prompts.
        other: the same prompts with the names of other people.

    Yields:
        Layer, expert, mode (``ZERO`` or ``SWAP``), its share of the weight of all tokens, and the probability of the
        true value minus that with the expert changed, (N,).
    """
    clean_N, seen = subject.probability(), other.router_inputs()
    for layer in mixture_layers(subject.model):
        for expert, share in experts_used(subject, layer).items():
            for mode, seen_MD in ((ZERO, None), (SWAP, seen[layer])):
                with expert_changed(subject, layer, expert, seen_MD):
                    yield layer, expert, mode, share, clean_N - subject.probability()


def experts_table(model: Transformer, batcher: Batcher, cohort: str) -> pd.DataFrame:
    """The losses of the model as it is now, as in ``runs.tables.MECHANISM_EXPERTS``; empty without a mixture."""
    one, other = prompt_pairs(batcher, cohort, NUM_PEOPLE)
    subject = Subject(model, one)
    clean = subject.probability().tolist()
    names = [ATTRIBUTES[number] for number in one.attribute_N]
    tables = [
        pd.DataFrame(
            {
                "layer": layer,
                "expert": expert,
                "mode": mode,
                "weight": share,
                "individual": one.individual_N,
                "attribute": names,
                "probability": clean,
                "lost": lost_N.tolist(),
            }
        )
        for layer, expert, mode, share, lost_N in losses_by_expert(subject, Subject(model, other))
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(MECHANISM_EXPERTS.columns))


def _mixture(model: Transformer, layer: int) -> MixtureOfExperts:
    mixture = model.get_submodule(f"layers.{layer}.feed_forward")
    assert isinstance(mixture, MixtureOfExperts)
    return mixture
