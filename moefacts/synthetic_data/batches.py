"""Batches as tensors: a vectorised ragged gather from the token table, on the device, without a Python loop.

Shape legend: B biographies, T positions, S pieces per biography, F tokens in the flat table, Q pieces in the catalog,
K buckets of people.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from moefacts.synthetic_data.biography import BiographyPlan, PieceCatalog, Role, tokenize_pieces
from moefacts.synthetic_data.cohorts import SEEN
from moefacts.synthetic_data.distribution import Distribution
from moefacts.synthetic_data.population import Population
from moefacts.synthetic_data.sampling import cohort_plan, individuals_of, strangers_plan, training_plan
from moefacts.synthetic_data.tokenizer import Tokenizer


@dataclass(frozen=True)
class Batch:
    """Biographies side by side, padded on the right. All tensors are ``int64``.

    Attributes:
        token_BT: token ids, beginning with the begin token.
        role_BT: a ``Role``; ``PADDING`` after the end token.
        attribute_BT: the attribute that a value token belongs to; -1 on everything else.
        value_position_BT: 0, 1, … within a value; -1 on everything else.
        individual_B: the person that each biography is about.
        length_B: the number of tokens of each biography without padding; on the host.
    """

    token_BT: Tensor
    role_BT: Tensor
    attribute_BT: Tensor
    value_position_BT: Tensor
    individual_B: Tensor
    length_B: np.ndarray

    @property
    def num_tokens(self) -> int:
        """The number of tokens that are not padding."""
        return int(self.length_B.sum())

    @property
    def inputs_BT(self) -> Tensor:
        """The model's inputs: all columns of tokens but the last."""
        return self.token_BT[:, :-1]

    @property
    def targets_BT(self) -> Tensor:
        """The model's targets: all columns of tokens but the first."""
        return self.token_BT[:, 1:]

    @property
    def target_mask_BT(self) -> Tensor:
        """True where the target is not padding."""
        return self.role_BT[:, 1:] != Role.PADDING

    @property
    def num_targets(self) -> int:
        """The number of targets that are not padding."""
        return self.num_tokens - len(self.token_BT)

    @property
    def padding_share(self) -> float:
        """The fraction of target positions that are padding."""
        return 1 - self.num_targets / self.targets_BT.numel()

    def rows(self, chosen: slice) -> "Batch":
        """The batch of the ``chosen`` biographies, as wide as the whole batch."""
        return Batch(*(getattr(self, field.name)[chosen] for field in fields(Batch)))


class Batcher:
    """Assembles batches of one population on one device.

    Training batches follow ``distribution``; None means all seen people uniformly. Batch widths are rounded up to
    multiples of ``round_to``, plus one. ``abstentions`` are answers beside the values that the model is taught, none in
    most runs: "unknown" and "[IDK]".
    """

    def __init__(
        self,
        population: Population,
        tokenizer: Tokenizer,
        device: torch.device,
        distribution: Distribution | None = None,
        round_to: int = 8,
        abstentions: Sequence[str] = (),
    ):
        self.population = population
        self.abstentions = tuple(abstentions)
        self.distribution = distribution
        self.tokenizer = tokenizer
        self.device = device
        self.round_to = round_to
        self.catalog = PieceCatalog(population, abstentions)
        table = tokenize_pieces(self.catalog, tokenizer)
        self._length_Q = table.length_Q
        self._start_Q = torch.from_numpy(table.start_Q).to(device)
        padding = np.array([[tokenizer.padding_id, Role.PADDING, -1, -1]])
        self._field_F4 = torch.from_numpy(np.concatenate([table.field_F4, padding])).to(device)

    def with_population(self, population: Population) -> "Batcher":
        """The same batcher of another population, such as the same people with other values."""
        return Batcher(population, self.tokenizer, self.device, self.distribution, self.round_to, self.abstentions)

    @property
    def cohort(self) -> str:
        """The cohort that training draws from; beside it, replay draws from another."""
        return self.cohorts[0]

    @property
    def cohorts(self) -> tuple[str, ...]:
        """All cohorts that training draws from: ``cohort``, and the one that is replayed."""
        return (SEEN,) if self.distribution is None else self.distribution.config.cohorts

    def buckets(self) -> dict[str, range]:
        """Bucket name -> the individuals in it, by how often they are shown; empty if all are shown equally often."""
        if self.distribution is None:
            return {}
        parts = {name: part for name, part in self.distribution.buckets().items() if part}
        rank_K = np.array([part.start for part in parts.values()], dtype=np.int64)
        first_K = individuals_of(self.population, self.distribution.config, rank_K)  # every part is of one cohort
        return {
            name: range(first, first + len(part))
            for (name, part), first in zip(parts.items(), first_K.tolist(), strict=True)
        }

    @property
    def longest(self) -> int:
        """The largest number of tokens that a biography of this population can have."""
        return int(self._length_Q[:2].sum()) + self._longest_sentences()

    def _longest_sentences(self) -> int:
        catalog, length_Q = self.catalog, self._length_Q
        role_Q, attribute_Q = np.array(catalog.roles), np.array(catalog.attributes)
        names = sum(length_Q[role_Q == role].max() for role in (Role.FIRST_NAME, Role.MIDDLE_NAME, Role.LAST_NAME))
        num_attributes = attribute_Q.max() + 1
        values = sum(length_Q[attribute_Q == attribute].max() for attribute in range(num_attributes))
        template_lengths = length_Q[role_Q == Role.TEMPLATE].reshape(num_attributes, -1, 3).sum(axis=2)
        return int(num_attributes * names + values + template_lengths.max(axis=1).sum())

    def name_lengths(self, individual_B: np.ndarray) -> np.ndarray:
        """The number of tokens of each part of these people's names, shape (B, 3)."""
        return self._length_Q[self.catalog.name_pieces(individual_B)]

    def assemble(self, plan: BiographyPlan) -> Batch:
        """The biographies of ``plan``, padded to the longest; the width is rounded up so that compiled graphs recur."""
        pieces = self.catalog.biography_pieces(plan)
        ends = np.cumsum(self._length_Q[pieces], axis=1)  # lengths stay on the host, so nothing waits for the device
        length_B = ends[:, -1]
        width = (
            1 + -(-(int(length_B.max()) - 1) // self.round_to) * self.round_to
        )  # the model reads width - 1 positions
        piece_BS, end_BS, individual_B = (self._to_device(array) for array in (pieces, ends, plan.individual_B))
        start_BS = torch.nn.functional.pad(end_BS[:, :-1], (1, 0))
        position_BT = torch.arange(width, device=self.device).expand(len(plan), width).contiguous()
        slot_BT = torch.searchsorted(end_BS, position_BT, right=True)
        inside_BT = slot_BT < piece_BS.shape[1]
        slot_BT = slot_BT.clamp(max=piece_BS.shape[1] - 1)
        flat_BT = (self._start_Q[piece_BS] - start_BS).gather(1, slot_BT) + position_BT
        field_BT4 = self._field_F4[torch.where(inside_BT, flat_BT, len(self._field_F4) - 1)]
        token_BT, role_BT, attribute_BT, value_position_BT = field_BT4.unbind(2)
        return Batch(token_BT, role_BT, attribute_BT, value_position_BT, individual_B, length_B)

    def _to_device(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def training_batch(self, step: int, batch_size: int, num_active: int | None = None) -> Batch:
        """The batch of ``step``, shortest first: a pure function of population seed, distribution and arguments."""
        plan = training_plan(self.population, step, batch_size, self.distribution, num_active)
        return self.assemble(plan.rows(self._shortest_first(plan)))

    def cohort_batch(self, cohort: str, purpose: str, number: int, batch_size: int) -> Batch:
        """Batch ``number`` for a ``purpose`` besides training, shortest first; see ``sampling.cohort_plan``."""
        plan = cohort_plan(self.population, cohort, purpose, number, batch_size)
        return self.assemble(plan.rows(self._shortest_first(plan)))

    def stranger_batch(self, step: int, batch_size: int) -> Batch:
        """The strangers who are shown at ``step``, shortest first; see ``sampling.strangers_plan``."""
        plan = strangers_plan(self.population, step, batch_size)
        return self.assemble(plan.rows(self._shortest_first(plan)))

    def batches_by_length(self, plan: BiographyPlan, batch_size: int) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield the biographies of ``plan`` in batches of similar length: (rows of the plan, batch)."""
        by_length_B = self._shortest_first(plan)
        for start in range(0, len(plan), batch_size):
            rows = by_length_B[start : start + batch_size]
            yield rows, self.assemble(plan.rows(rows))

    def _shortest_first(self, plan: BiographyPlan) -> np.ndarray:
        return np.argsort(self._length_Q[self.catalog.biography_pieces(plan)].sum(axis=1), kind="stable")
