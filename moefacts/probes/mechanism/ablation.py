"""Sub-layer ablation: what a layer's attention or MLP adds is replaced by zero, by its mean, or by another person's.

Shape legend: M real tokens, R of them, D model width, A attributes.
"""

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor

from moefacts.probes.mechanism.interventions import ATTENTION, MLP, Subject, relative_change
from moefacts.synthetic_data.prompts import SITES

ZERO, MEAN, SWAP = MODES = ("zero", "mean", "another person")
NAME_END, LAST, EVERYWHERE = "name", "value", "everywhere"  # at the name's last token, before the value, at all tokens
ROUTER = "router"
Recorded = Mapping[tuple[int, str], Tensor]


def places(subject: Subject) -> dict[str, Tensor]:
    """The real tokens at which something is ablated, by name."""
    everywhere_M = torch.arange(len(subject.site_M), device=subject.site_M.device)
    return {NAME_END: subject.name_end_N, LAST: subject.last_N, EVERYWHERE: everywhere_M}


def means(subject: Subject, x_MD: Tensor) -> Tensor:
    """For every real token the mean over all that have its site, in prompts about the same attribute, shape (M, D)."""
    group_M = subject.attribute_M * len(SITES) + subject.site_M
    sum_GD = x_MD.new_zeros(int(group_M.max()) + 1, x_MD.shape[1]).index_add_(0, group_M, x_MD)
    return (sum_GD / group_M.bincount().clamp_min(1)[:, None].to(x_MD.dtype)).index_select(0, group_M)


def replacements(subject: Subject, mine: Recorded, others: Recorded, place: tuple[int, str]) -> dict[str, Tensor]:
    """What takes the place of a layer's part at every real token, by mode: (M, D) each."""
    return dict(zip(MODES, (torch.zeros_like(mine[place]), means(subject, mine[place]), others[place]), strict=True))


def ablations(
    subject: Subject,
    others: Recorded,
    clean_A: Tensor,
    which: Collection[str] = MODES,
    where: Collection[str] = (NAME_END, LAST, EVERYWHERE),
) -> Iterator[tuple[str, str, str, int, Tensor]]:
    """Ablations of attention and MLP of every layer.

    Args:
        subject: the model and the prompts.
        others: what ``Subject.recorded`` finds on the same prompts with the names of other people.
        clean_A: the probability without ablation.
        which: the modes.
        where: the places.

    Yields:
        Part, place, mode, layer, and the relative change of the true value's probability by attribute.
    """
    mine, chosen = subject.recorded(), {place: row_R for place, row_R in places(subject).items() if place in where}
    for layer in range(len(subject.model.layers)):
        for part in (ATTENTION, MLP):
            for mode, value_MD in replacements(subject, mine, others, (layer, part)).items():
                for place, row_R in chosen.items() if mode in which else ():
                    with subject.set_to(layer, part, row_R, value_MD[row_R]):
                        yield part, place, mode, layer, relative_change(subject, clean_A)


def router_swaps(subject: Subject, other: Subject, clean_A: Tensor) -> Iterator[tuple[str, str, str, int, Tensor]]:
    """The same of routers, in mixtures: tokens go to the experts to which those of another person go."""
    for layer, seen_MD in other.router_inputs().items():
        for place, row_R in places(subject).items():
            with subject.routed_as(layer, row_R, seen_MD[row_R]):
                yield ROUTER, place, SWAP, layer, relative_change(subject, clean_A)
