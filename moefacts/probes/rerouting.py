"""Experts in fine-tuning: whether new people go to others than old ones do, whether old people move, and which change.

Shape legend: N tokens, E experts, K experts chosen per token, M = N·K assignments.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from moefacts.models.transformer import Transformer
from moefacts.probes.routing_choices import LayerChoices, collect, mixtures
from moefacts.probes.shift import one_biography_each
from moefacts.runs.probe_table import ProbeTable
from moefacts.runs.tables import EXPERT_CHANGE, REROUTED
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.training.checkpoint import load_weights
from moefacts.training.evaluation import Evaluator

NUM_PEOPLE = 256
ALL, NAME_END, BEFORE_VALUE = "all", "name_end", "before_value"
_NUM_DRAWS = 8


def token_kinds(evaluator: Evaluator) -> dict[str, np.ndarray]:
    """Which of the tokens that ``routing_choices.collect`` returns are of a kind, each (N,).

    The kinds are all tokens, the last one of every name, and the one before every value.
    """
    roles = []
    for _, batch, _, packing in evaluator.batches:
        pair = (batch.role_BT[:, :-1], batch.role_BT[:, 1:])
        roles.append(np.stack([role_BT.flatten()[packing.real_N].cpu().numpy() for role_BT in pair]))
    role_N, next_N = np.concatenate(roles, axis=1)
    is_end_N = (role_N == Role.LAST_NAME) & (next_N != Role.LAST_NAME)
    return {ALL: np.ones(len(role_N), bool), NAME_END: is_end_N, BEFORE_VALUE: next_N == Role.FIRST_VALUE}


def use_distance(one_NK: np.ndarray, other_NK: np.ndarray, num_experts: int) -> float:
    """Total variation distance, ½ Σ_e |p_e − q_e|, between two shares of assignments to each expert: 0 to 1."""
    share, other = (np.bincount(expert.ravel(), minlength=num_experts) / expert.size for expert in (one_NK, other_NK))
    return float(np.abs(share - other).sum() / 2)


def distance_by_chance(
    expert_NK: np.ndarray, individual_N: np.ndarray, num_people: int, num_experts: int, seed: int
) -> tuple[int, float]:
    """The distance between ``num_people`` of some people (at most half of them) and the others, averaged over draws.

    Returns:
        How many people were drawn, and the distance; 0 and NaN if there is but one.
    """
    people, random, found = np.unique(individual_N), np.random.default_rng(seed), []
    num_drawn = min(num_people, len(people) // 2)
    for _ in range(_NUM_DRAWS if num_drawn else 0):
        is_drawn_N = np.isin(individual_N, random.permutation(people)[:num_drawn])
        found.append(use_distance(expert_NK[is_drawn_N], expert_NK[~is_drawn_N], num_experts))
    return num_drawn, float(np.mean(found)) if found else np.nan


def expert_changes(before: dict[str, Tensor], after: dict[str, Tensor], layer: int) -> list[float]:
    """‖θ₁ − θ₀‖ / ‖θ₀‖ over the weights of every expert of a layer; the arguments are weights by name."""
    names = [name for name in after if name.startswith(f"layers.{layer}.feed_forward.experts.")]
    change_E, size_E = (
        torch.stack([weight[name].double().flatten(1).square().sum(dim=1) for name in names]).sum(dim=0)
        for weight in ({name: after[name] - before[name] for name in names}, before)
    )
    return (change_E / size_E).sqrt().tolist()


def rerouting_tables(
    run: Path, model: Transformer, batcher: Batcher, old: Sequence[str], steps: Sequence[int]
) -> dict[ProbeTable, pd.DataFrame]:
    """The tables ``runs.tables.REROUTED`` and ``EXPERT_CHANGE``, for step 0 and ``steps``.

    The first has for every cohort (the old ones and the learned one), layer and kind of token: ``moved``, the share of
    tokens whose first expert is another than at step 0; ``distance_to_learned``, the total variation distance of the
    use of experts from that of the learned people; and ``distance_by_chance``, that between as many people of the same
    cohort (at most half of them, ``drawn``) and the others.

    The second has for every expert the relative change of its weights since step 0, and the shares of the assignments
    of old and of learned people that go to it.

    Afterwards ``model`` holds the weights of the last of ``steps``. The arguments are those of ``shift_table``.
    """
    learned, seed = batcher.cohort, batcher.population.seed
    evaluators = {cohort: one_biography_each(batcher, cohort, NUM_PEOPLE) for cohort in (*old, learned)}
    kinds = {cohort: token_kinds(evaluator) for cohort, evaluator in evaluators.items()}
    num_learned, moved, changed = len(evaluators[learned].plan), [], []
    before: dict[str, Tensor] = {}
    first: dict[str, dict[int, LayerChoices]] = {}
    for step in (0, *steps):
        load_weights(run, step, model)
        collected = {cohort: collect(model, evaluator) for cohort, evaluator in evaluators.items()}
        individual_N = {cohort: tokens.individual_N for cohort, (tokens, _) in collected.items()}
        choices = {cohort: found for cohort, (_, found) in collected.items()}
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        before, first = before or weights, first or choices
        for layer, mixture in mixtures(model):
            num_experts = mixture.config.num_experts
            expert_NK = {cohort: choices[cohort][layer].expert_NK for cohort in evaluators}
            for cohort, kind in [(name, kind) for name in evaluators for kind in kinds[name]]:
                here, there = kinds[cohort][kind], kinds[learned][kind]
                start_NK, now_NK = first[cohort][layer].expert_NK[here], expert_NK[cohort][here]
                drawn, chance = distance_by_chance(now_NK, individual_N[cohort][here], num_learned, num_experts, seed)
                moved.append(
                    {
                        **{"step": step, "cohort": cohort, "layer": layer, "tokens": kind},
                        "moved": float(np.mean(start_NK[:, 0] != now_NK[:, 0])),
                        "distance_to_learned": use_distance(now_NK, expert_NK[learned][there], num_experts),
                        "drawn": drawn,
                        "distance_by_chance": chance,
                    }
                )
            old_M, learned_M = np.concatenate([expert_NK[name].ravel() for name in old]), expert_NK[learned].ravel()
            use = {
                name: np.bincount(expert_M, minlength=num_experts) / len(expert_M)
                for name, expert_M in (("old_use", old_M), ("learned_use", learned_M))
            }
            for expert, change in enumerate(expert_changes(before, weights, layer)):
                shares = {name: float(share_E[expert]) for name, share_E in use.items()}
                changed.append({"step": step, "layer": layer, "expert": expert, "relative_change": change, **shares})
    return {
        REROUTED: pd.DataFrame(moved, columns=list(REROUTED.columns)),
        EXPERT_CHANGE: pd.DataFrame(changed, columns=list(EXPERT_CHANGE.columns)),
    }
