"""Causal tracing: where does a fact enter? (Meng et al. 2022, arXiv 2202.05262, section 2, with another person's name)

The model reads a prompt with somebody else's name, while one part of one layer is, at one site, what it was with the
right name. The indirect effect is how much of the probability of the right person's value comes back.

Shape legend: N prompts, M real tokens, R of them, A attributes.
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from moefacts.probes.mechanism.interventions import PARTS, Subject
from moefacts.synthetic_data.prompts import SITES

Recorded = Mapping[tuple[int, str], Tensor]


def corrupted_probability(subject: Subject, other: Subject) -> Tensor:
    """The probability of the right person's value when the model reads the other's name, by attribute, shape (A,)."""
    return other.by_attribute(other.probability(subject.prompts.target_N))


def indirect_effects(subject: Subject, other: Subject, mine: Recorded) -> Iterator[tuple[str, str, int, Tensor]]:
    """Every indirect effect: (part, site, layer, p(restored) − p(corrupted) by attribute).

    Args:
        subject: the model and the prompts.
        other: the same with the names of other people.
        mine: what ``subject.recorded()`` finds.
    """
    corrupted_A, target_N = corrupted_probability(subject, other), subject.prompts.target_N
    for layer in range(len(subject.model.layers)):
        for part in PARTS:
            for site in SITES:
                row_R = (subject.site_M == site).nonzero().flatten()
                with other.set_to(layer, part, row_R, mine[layer, part][row_R]):
                    restored_A = other.by_attribute(other.probability(target_N))
                yield part, site.name.lower().replace("_", " "), layer, restored_A - corrupted_A
