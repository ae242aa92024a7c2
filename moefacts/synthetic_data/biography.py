"""Biographies as pieces: every fragment of text is tokenised once, into one flat table.

A sentence has seven pieces: template prefix, first, middle and last name, template middle, value, template suffix. A
biography has a begin piece, one sentence per attribute, and an end piece. An integer array says which piece is where;
tokens, roles and text all follow from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import Population
from moefacts.synthetic_data.tokenizer import Tokenizer

PIECES_PER_SENTENCE = 7
_PARTS_PER_TEMPLATE = 3


class Role(IntEnum):
    """The role of a token in its biography."""

    PADDING = 0
    BOUNDARY = 1  # begin and end of the sequence
    TEMPLATE = 2
    FULL_STOP = 3
    FIRST_NAME = 4
    MIDDLE_NAME = 5
    LAST_NAME = 6
    FIRST_VALUE = 7  # first token of an attribute value
    LATER_VALUE = 8


@dataclass(frozen=True)
class BiographyPlan:
    """The content of a set of biographies. Shape legend: B biographies, A sentences (one per attribute).

    Attributes:
        individual_B: the person that each biography is about.
        attribute_BA: the attribute that each sentence states, in reading order.
        template_BA: the template that each sentence uses.
    """

    individual_B: np.ndarray
    attribute_BA: np.ndarray
    template_BA: np.ndarray

    def __len__(self) -> int:
        return len(self.individual_B)

    def rows(self, chosen: np.ndarray | slice) -> "BiographyPlan":
        """The biographies that ``chosen`` indexes."""
        return BiographyPlan(self.individual_B[chosen], self.attribute_BA[chosen], self.template_BA[chosen])


class PieceCatalog:
    """Numbers all text fragments (pieces) of a population, and lists the pieces of every biography.

    ``abstentions`` are answers that are no value of an attribute, such as "unknown". They are numbered as the values
    that follow on all others.
    """

    def __init__(self, population: Population, abstentions: Sequence[str] = ()):
        self.population = population
        pools, templates = population.pools, population.templates
        self.texts: list[str] = ["", ""]  # begin and end of the sequence
        self.roles: list[Role] = [Role.BOUNDARY, Role.BOUNDARY]
        self.attributes: list[int] = [-1, -1]
        fixed = [part for a in ATTRIBUTES for t in templates[a] for part in (t.prefix, t.middle, t.suffix)]
        self._template_start = self._add(fixed, Role.TEMPLATE)
        name_pools = (pools.first_names, pools.middle_names, pools.last_names)
        name_roles = (Role.FIRST_NAME, Role.MIDDLE_NAME, Role.LAST_NAME)
        self._name_start_3 = np.array(
            [self._add([f" {n}" for n in pool], role) for pool, role in zip(name_pools, name_roles, strict=True)]
        )
        self._value_start_A = np.array(
            [
                self._add([f" {v}" for v in (*pools.values(a), *abstentions)], Role.FIRST_VALUE, i)
                for i, a in enumerate(ATTRIBUTES)
            ]
        )
        self._num_templates = len(templates[ATTRIBUTES[0]])

    def _add(self, texts: list[str], role: Role, attribute: int = -1) -> int:
        start = len(self.texts)
        self.texts += texts
        self.roles += [role] * len(texts)
        self.attributes += [attribute] * len(texts)
        return start

    def name_pieces(self, individual_B: np.ndarray) -> np.ndarray:
        """The pieces of these people's names, shape (B, 3)."""
        return self._name_start_3 + self.population.name_P3[individual_B]

    def sentence_pieces(self, plan: BiographyPlan) -> np.ndarray:
        """The piece at every place of every sentence, shape (B, A, 7)."""
        names_B3 = self.name_pieces(plan.individual_B)
        value_BA = self.population.value_PA[plan.individual_B[:, None], plan.attribute_BA]
        pieces_BAS = np.empty((*plan.attribute_BA.shape, PIECES_PER_SENTENCE), dtype=np.int64)
        template_BA = plan.attribute_BA * self._num_templates + plan.template_BA
        first_part_BA = self._template_start + template_BA * _PARTS_PER_TEMPLATE
        pieces_BAS[:, :, 0] = first_part_BA
        pieces_BAS[:, :, 1:4] = names_B3[:, None, :]
        pieces_BAS[:, :, 4] = first_part_BA + 1
        pieces_BAS[:, :, 5] = self._value_start_A[plan.attribute_BA] + value_BA
        pieces_BAS[:, :, 6] = first_part_BA + 2
        return pieces_BAS

    def biography_pieces(self, plan: BiographyPlan) -> np.ndarray:
        """The piece at every place of every biography, with begin and end, shape (B, 2 + 7 A)."""
        pieces_BS = self.sentence_pieces(plan).reshape(len(plan), -1)
        ends_B1 = np.zeros((len(plan), 1), dtype=np.int64)
        return np.concatenate([ends_B1, pieces_BS, ends_B1 + 1], axis=1)

    def texts_of(self, plan: BiographyPlan) -> list[str]:
        """The biographies as text."""
        return ["".join(self.texts[p] for p in row).strip() for row in self.biography_pieces(plan)]


@dataclass(frozen=True)
class TokenTable:
    """The tokens of all pieces, end to end. Shape legend: F tokens in the flat table, Q pieces.

    Attributes:
        start_Q, length_Q: the place of each piece in the flat table.
        field_F4: token id, role, attribute (-1 outside values), position within the value (-1 outside values).
    """

    start_Q: np.ndarray
    length_Q: np.ndarray
    field_F4: np.ndarray


def tokenize_pieces(catalog: PieceCatalog, tokenizer: Tokenizer) -> TokenTable:
    """Tokenise every piece of ``catalog`` once."""
    ids = tokenizer.encode(catalog.texts)
    ids[0], ids[1] = [tokenizer.begin_id], [tokenizer.end_id]
    length_Q = np.array([len(piece) for piece in ids], dtype=np.int64)
    start_Q = np.cumsum(length_Q) - length_Q
    position_F = np.arange(length_Q.sum()) - np.repeat(start_Q, length_Q)
    role_F = np.repeat(np.array(catalog.roles), length_Q)
    attribute_F = np.repeat(np.array(catalog.attributes), length_Q)
    role_F[(role_F == Role.FIRST_VALUE) & (position_F > 0)] = Role.LATER_VALUE
    suffix_Q = [piece for piece, role in enumerate(catalog.roles) if role == Role.TEMPLATE][2::_PARTS_PER_TEMPLATE]
    role_F[start_Q[suffix_Q] + length_Q[suffix_Q] - 1] = Role.FULL_STOP
    token_F = np.fromiter((token for piece in ids for token in piece), dtype=np.int64, count=len(position_F))
    value_position_F = np.where(attribute_F >= 0, position_F, -1)
    return TokenTable(start_Q, length_Q, np.stack([token_F, role_F, attribute_F, value_position_F], axis=1))
