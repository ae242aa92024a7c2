"""The two toy memories: learn old facts, then new ones in several arms, and watch what is recalled of both.

All arms of one seed start from the same memory and are trained side by side, as copies of it with one more axis.

Shape legend: P facts, D key width, S steps, A arms, B batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moefacts.models.key_value_memory import KeyValueMemory, in_copies, unit_vectors
from moefacts.models.shared_direction_memory import SharedDirectionMemory, keys_with_shared_direction
from moefacts.synthetic_data.randomness import random_below, stream_key

_EVALUATIONS = 50  # at most, spread evenly over the logarithm of the step
_FINE = 1 << 30  # probabilities are multiples of 1 / _FINE


@dataclass(frozen=True)
class Facts:
    """Keys, shape (P, D), and the number of each one's value, shape (P)."""

    key_PD: Tensor
    answer_P: Tensor


def key_value(seed: int, settings: Mapping[str, Any]) -> pd.DataFrame:
    """The study's toy (Figures Q and R); the rows of ``runs.tables.RECALL``, with the groups "old" and "new".

    ``settings["arms"]`` are name -> ``num_new`` and ``replay_weight``, how many times likelier one old pair is drawn
    than one new one.
    """
    num_old, arms = settings["num_pairs"], settings["arms"]
    num_pairs, batch_size = num_old + max(arm["num_new"] for arm in arms.values()), settings["batch_size"]
    facts = Facts(
        unit_vectors(num_pairs, settings["d_key"], _generator(seed, "keys")),
        _below(settings["num_classes"], (num_pairs,), seed, "classes"),
    )
    values = unit_vectors(settings["num_classes"], settings["d_key"], _generator(seed, "values"))
    memory = KeyValueMemory(values, settings["num_units"], _generator(seed, "weights"))
    optimizer = _adamw(memory, settings["learning_rate"], settings["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["pretraining_steps"])
    shape = settings["pretraining_steps"], batch_size
    _train(memory, optimizer, facts, _below(num_old, shape, seed, "pretraining"), schedule)
    shape = settings["fine_tuning_steps"], batch_size
    old_SB = _below(num_old, shape, seed, "replayed")
    chance_SB = _below(_FINE, shape, seed, "replay or not")
    drawn, groups = [], []
    for arm in arms.values():
        num_new, weight = arm["num_new"], arm["replay_weight"]
        share_old = weight * num_old / (weight * num_old + num_new)
        new_SB = num_old + _below(num_new, shape, seed, "new")
        drawn.append(torch.where(chance_SB < share_old * _FINE, old_SB, new_SB))
        groups.append({"old": slice(0, num_old), "new": slice(num_old, num_old + num_new)})
    memories = in_copies(memory, len(arms))
    optimizer = _adamw(memories, settings["fine_tuning_rate"], settings["weight_decay"])
    return _fine_tuned(memories, optimizer, facts, torch.stack(drawn, dim=1), dict(zip(arms, groups, strict=True)))


def shared_direction(seed: int, settings: Mapping[str, Any]) -> pd.DataFrame:
    """The toy of Palit et al.; rows of ``RECALL`` with the groups "old", "old, values as new" and "new".

    The facts are A, with values from the first half; B, from the second; then the new ones twice over, with values from
    the second half and from both. ``settings["arms"]`` are name -> ``shared_direction`` (α), ``is_normalised``,
    ``both_halves`` (whether new values come from both) and ``num_replayed``, the number of facts in A that are drawn as
    often as a new one. They are among the first ``num_replayable``, which are not in the group "old" of any arm.
    """
    arms = settings["arms"]
    by_memory: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, arm in arms.items():
        by_memory.setdefault((arm["shared_direction"], arm["is_normalised"]), {})[name] = arm
    tables = [_shared_direction(seed, settings, *memory, members) for memory, members in by_memory.items()]
    return pd.concat(tables, ignore_index=True)


def _shared_direction(
    seed: int, settings: Mapping[str, Any], share: float, is_normalised: bool, arms: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """The arms that start from one memory."""
    num_facts, num_values, width = settings["num_facts"], settings["num_values"], settings["d_key"]
    batch_size, rate, half = settings["batch_size"], settings["learning_rate"], settings["num_values"] // 2
    key_PD = keys_with_shared_direction(3 * num_facts, width, share, _generator(seed, "keys"))
    first_A, second_B, second_N = (_below(half, (num_facts,), seed, "values", group) for group in ("A", "B", "new"))
    both_N = _below(num_values, (num_facts,), seed, "values", "new, both halves")
    facts = Facts(
        torch.cat([key_PD, key_PD[2 * num_facts :]]), torch.cat([first_A, half + second_B, half + second_N, both_N])
    )
    memory = SharedDirectionMemory(width, num_values, is_normalised, _generator(seed, "weights"))
    optimizer = torch.optim.SGD(memory.parameters(), lr=rate)
    shape = settings["pretraining_steps"], batch_size
    _train(memory, optimizer, facts, _below(2 * num_facts, shape, seed, "pretraining"))
    shape = settings["fine_tuning_steps"], batch_size
    scored = slice(settings["num_replayable"], num_facts)
    drawn, groups = [], {}
    for name, arm in arms.items():
        assert arm["num_replayed"] <= settings["num_replayable"]
        begin = (3 if arm["both_halves"] else 2) * num_facts
        place_SB = _below(num_facts + arm["num_replayed"], shape, seed, "fine-tuning")
        drawn.append(torch.where(place_SB < num_facts, begin + place_SB, place_SB - num_facts))
        groups[name] = {
            "old": scored,
            "old, values as new": slice(num_facts, 2 * num_facts),
            "new": slice(begin, begin + num_facts),
        }
    memories = in_copies(memory, len(arms))
    optimizer = torch.optim.SGD(memories.parameters(), lr=rate)
    return _fine_tuned(memories, optimizer, facts, torch.stack(drawn, dim=1), groups)


def evaluated_steps(last: int) -> list[int]:
    """The steps at which recall is measured: 0, and up to ``last`` in even ratios, so that early ones are dense."""
    return [0, *np.unique(np.geomspace(1, last, _EVALUATIONS).round().astype(int)).tolist()]


def _fine_tuned(
    memories: nn.Module,
    optimizer: torch.optim.Optimizer,
    facts: Facts,
    drawn_SAB: Tensor,
    groups: Mapping[str, Mapping[str, slice]],
) -> pd.DataFrame:
    """Train all arms and measure them on the way; ``groups`` are arm -> group -> its facts."""
    rows: list[tuple[str, str, int, float]] = []

    def measure(step: int) -> None:
        with torch.no_grad():
            is_right_AP = memories(facts.key_PD).argmax(dim=-1) == facts.answer_P
        for is_right_P, (arm, members) in zip(is_right_AP, groups.items(), strict=True):
            rows.extend(
                (arm, group, step, is_right_P[which].double().mean().item()) for group, which in members.items()
            )

    measured = evaluated_steps(len(drawn_SAB))
    for begin, end in zip([0, *measured], measured, strict=False):
        _train(memories, optimizer, facts, drawn_SAB[begin:end])
        measure(end)
    return pd.DataFrame(rows, columns=["arm", "group", "step", "accuracy"])


def _train(
    memory: nn.Module,
    optimizer: torch.optim.Optimizer,
    facts: Facts,
    drawn: Tensor,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> None:
    """Take one step for each row of ``drawn``, numbers of facts of shape (S, B) or (S, A, B).

    The loss is the mean cross-entropy over the batch, added over the arms.
    """
    for fact in drawn:
        logits, answer = memory(facts.key_PD[fact]), facts.answer_P[fact]
        loss = F.cross_entropy(logits.flatten(0, -2), answer.flatten(), reduction="sum") / fact.shape[-1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


def _adamw(memory: nn.Module, rate: float, weight_decay: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(memory.parameters(), lr=rate, weight_decay=weight_decay, fused=True)


def _generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(stream_key(seed, "toy memory", purpose))


def _below(bound: int, shape: tuple[int, ...], seed: int, *purpose: object) -> Tensor:
    """Uniform integers in [0, bound); the first of a longer shape are those of a shorter one."""
    index = torch.arange(int(np.prod(shape)))
    return random_below(stream_key(seed, "toy memory", *purpose), index, bound).reshape(shape)
