"""One-sentence prompts: one attribute of one person, in a held-out template, up to the token before the value.

In a biography names and earlier values recur, so that what is blocked at one mention can be read at another. A prompt
has one mention.

Shape legend: N prompts, T positions, B biographies.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import BiographyPlan, Role
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.randomness import random_permutation, stream_key
from moefacts.synthetic_data.sampling import evaluation_plan


class Site(IntEnum):
    """The part of a prompt that a token belongs to."""

    OUTSIDE = -1  # the value, and what comes after it
    BEGIN = 0
    BEFORE_NAME = 1
    FIRST_NAME = 2
    MIDDLE_NAME = 3
    LAST_NAME = 4
    AFTER_NAME = 5
    LAST = 6  # the token before the value, at which the value is predicted


SITES = tuple(site for site in Site if site != Site.OUTSIDE)
NAME_SITES = (Site.FIRST_NAME, Site.MIDDLE_NAME, Site.LAST_NAME)
_ROLES = {
    Role.FIRST_NAME: Site.FIRST_NAME,
    Role.MIDDLE_NAME: Site.MIDDLE_NAME,
    Role.LAST_NAME: Site.LAST_NAME,
}


@dataclass(frozen=True)
class Prompts:
    """Prompts side by side, padded on the right.

    Attributes:
        token_NT: token ids, beginning with the begin token. After ``length_N`` tokens come the value and padding.
        site_NT: the ``Site`` of every token.
        length_N: the number of tokens before the value, on the host.
        name_end_N: the position of the last token of the name.
        target_N: the first token of the true value.
        individual_N: whom the prompt is about, on the host.
        attribute_N: which attribute it asks for, as an index into ``ATTRIBUTES``, on the host.
    """

    token_NT: Tensor
    site_NT: Tensor
    length_N: np.ndarray
    name_end_N: Tensor
    target_N: Tensor
    individual_N: np.ndarray
    attribute_N: np.ndarray

    @property
    def last_N(self) -> Tensor:
        """The position of the token before the value."""
        return torch.from_numpy(self.length_N - 1).to(self.token_NT.device)


def prompts(batcher: Batcher, plan: BiographyPlan) -> Prompts:
    """The prompts of ``plan``, which has one sentence per row."""
    assert plan.attribute_BA.shape[1] == 1
    batch = batcher.assemble(plan)
    is_last_NT = torch.zeros_like(batch.role_BT, dtype=torch.bool)
    is_last_NT[:, :-1] = batch.role_BT[:, 1:] == Role.FIRST_VALUE
    last_N = is_last_NT.nonzero()[:, 1]
    place_T = torch.arange(batch.role_BT.shape[1], device=last_N.device)
    is_name_NT = torch.isin(batch.role_BT, torch.tensor(list(_ROLES), device=last_N.device))
    name_end_N = torch.where(is_name_NT, place_T, -1).max(dim=1).values
    site_NT = torch.full_like(batch.role_BT, Site.AFTER_NAME)
    for role, site in _ROLES.items():
        site_NT[batch.role_BT == role] = site
    site_NT[(batch.role_BT == Role.TEMPLATE) & (place_T < name_end_N[:, None])] = Site.BEFORE_NAME
    site_NT[:, 0] = Site.BEGIN
    site_NT[place_T > last_N[:, None]] = Site.OUTSIDE
    site_NT[is_last_NT] = Site.LAST
    return Prompts(
        token_NT=batch.token_BT,
        site_NT=site_NT,
        length_N=(last_N + 1).cpu().numpy(),
        name_end_N=name_end_N,
        target_N=batch.token_BT.gather(1, last_N[:, None] + 1).squeeze(1),
        individual_N=plan.individual_B,
        attribute_N=plan.attribute_BA[:, 0],
    )


def prompt_pairs(batcher: Batcher, cohort: str, num_people: int) -> tuple[Prompts, Prompts]:
    """Prompts about people of ``cohort``, six each, and the same prompts with the names of other people of it.

    Templates are those that evaluation uses for the person. Everybody's name has as many tokens in each of its parts as
    that of the one who takes the place, so the sites of both are the same; people for whom there is nobody else are
    left out.

    Args:
        batcher: of the population.
        cohort: the people.
        num_people: how many at most.
    """
    plan = evaluation_plan(batcher.population, cohort, min(num_people, len(batcher.population.cohort(cohort))))
    other_B = _others(batcher, plan.individual_B)
    plan, other_B = plan.rows(np.flatnonzero(other_B >= 0)), other_B[other_B >= 0]
    column_BA = plan.attribute_BA.argsort(axis=1)  # the sentence about each attribute
    attribute_N = np.tile(np.arange(len(ATTRIBUTES)), len(plan))
    template_N = np.take_along_axis(plan.template_BA, column_BA, axis=1).ravel()
    one, other = (
        prompts(
            batcher,
            BiographyPlan(individual_B.repeat(len(ATTRIBUTES)), attribute_N[:, None], template_N[:, None]),
        )
        for individual_B in (plan.individual_B, other_B)
    )
    assert (one.length_N == other.length_N).all()
    return one, other


def _others(batcher: Batcher, individual_B: np.ndarray) -> np.ndarray:
    """For everybody another one of them whose name has parts of the same numbers of tokens; -1 if there is none."""
    length_B3 = batcher.name_lengths(individual_B)
    order_B = random_permutation(
        stream_key(batcher.population.seed, "prompts", "others"), np.arange(len(individual_B)), len(individual_B)
    )
    other_B = np.full(len(individual_B), -1)
    for length_3 in np.unique(length_B3, axis=0):
        alike = order_B[(length_B3[order_B] == length_3).all(axis=1)]
        if len(alike) > 1:
            other_B[alike] = individual_B[np.roll(alike, 1)]
    return other_B
