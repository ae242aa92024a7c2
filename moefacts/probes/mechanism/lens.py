"""What a layer's states and updates say when they are read as if they were the last one (logit lens).

A state h_l is read as U·norm(h_l), with the last norm and the unembedding U of the model, and so is what a layer adds
at the token before the value.

Shape legend: N prompts, D model width, C candidates (distinct first tokens of an attribute's values).
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from moefacts.probes.first_tokens import Candidates
from moefacts.probes.mechanism.interventions import ATTENTION, MLP, STATE, Subject

TOP = (1, 5)
Recorded = Mapping[tuple[int, str], Tensor]


@torch.no_grad()
def ranks(subject: Subject, state_ND: Tensor, candidates: list[Candidates]) -> Tensor:
    """The rank of the true value's first token among the first tokens of its attribute's values, 1 being best; (N,).

    Ties count against the model.
    """
    model, prompts = subject.model, subject.prompts
    logits_NV = model.unembed(model.final_norm(state_ND))
    rank_N = torch.zeros(len(state_ND), dtype=torch.long, device=state_ND.device)
    for a, one in enumerate(candidates):
        row_R = torch.from_numpy((prompts.attribute_N == a).nonzero()[0]).to(state_ND.device)
        token_C = torch.from_numpy(one.token_C).to(state_ND.device)
        of_target_R1 = logits_NV[row_R].gather(1, prompts.target_N[row_R, None])
        rank_N[row_R] = (logits_NV[row_R][:, token_C] >= of_target_R1).sum(dim=1)
    return rank_N


@torch.no_grad()
def readings(
    subject: Subject, recorded: Recorded, candidates: list[Candidates]
) -> Iterator[tuple[str, str, int, Tensor]]:
    """Every reading by attribute: (measure, place or part, layer, value).

    ``top 1`` and ``top 5`` are shares of prompts whose true value is among so many best, and ``rank`` is its mean rank
    over the number of candidates, of states at the name's last token (``name``: enrichment) and before the value
    (``value``: logit lens). ``extracted`` is the share of prompts in which what attention, or the MLP, adds before the
    value names the token that the model answers (extraction rate, arXiv 2304.14767, section 6).
    """
    model = subject.model
    answer_N = model.unembed(subject.hidden()[subject.last_N]).argmax(dim=1)
    size_A = torch.tensor([len(one.token_C) for one in candidates], device=answer_N.device)
    for layer in range(len(model.layers)):
        for place, row_N in (("name", subject.name_end_N), ("value", subject.last_N)):
            rank_N = ranks(subject, recorded[layer, STATE][row_N], candidates)
            for most in TOP:
                yield f"top {most}", place, layer, subject.by_attribute(rank_N <= most)
            yield "rank", place, layer, subject.by_attribute(rank_N) / size_A
        for part in (ATTENTION, MLP):
            update_ND = recorded[layer, part][subject.last_N]
            read_N = model.unembed(model.final_norm(update_ND)).argmax(dim=1)
            yield "extracted", part, layer, subject.by_attribute(read_N == answer_N)
