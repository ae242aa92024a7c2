"""Attention knock-out: which edges of attention, in which layers, does the answer need? (arXiv 2304.14767, section 4.1)

Shape legend: N prompts, T positions.
"""

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from moefacts.probes.mechanism.interventions import WINDOWS, Subject, relative_change, windows
from moefacts.synthetic_data.prompts import NAME_SITES, Site

# Name -> (targets, sources): what may not attend, to what. Words are those of the template.
EDGES = {
    "name from name": (NAME_SITES, NAME_SITES),
    "value from name": ((Site.LAST,), NAME_SITES),
    "value from words": ((Site.LAST,), (Site.BEFORE_NAME, Site.AFTER_NAME)),
    "value from begin": ((Site.LAST,), (Site.BEGIN,)),
}


def blocked(site_NT: Tensor, edges: str) -> Tensor:
    """True where a query (second axis) may not attend to a key (third axis), shape (N, T, T)."""
    is_target_NT, is_source_NT = (_is_one_of(site_NT, sites) for sites in EDGES[edges])
    return is_target_NT[:, :, None] & is_source_NT[:, None, :]


def _is_one_of(site_NT: Tensor, sites: tuple[Site, ...]) -> Tensor:
    return torch.isin(site_NT, torch.tensor(sites, device=site_NT.device))


def knock_outs(
    subject: Subject, clean_A: Tensor, kinds: Collection[str] = tuple(EDGES), which: Collection[str] = WINDOWS
) -> Iterator[tuple[str, str, int, Tensor]]:
    """Knock-outs of these edges in these windows of layers.

    Yields:
        Edges, window, layer, and the relative change of the true value's probability by attribute.
    """
    for edges in kinds:
        blocked_NTT = blocked(subject.prompts.site_NT, edges)
        for window, layer, layers in windows(len(subject.model.layers)):
            if window in which:
                with subject.knocked_out(layers, blocked_NTT):
                    yield edges, window, layer, relative_change(subject, clean_A)
