"""Which tokens a trained mixture sends to which experts: use, information, co-activation, saturation, ablation.

Shape legend: N tokens, E experts, K experts chosen per token, A attributes.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from moefacts.config.loader import read_config
from moefacts.models.transformer import Transformer, build_model
from moefacts.probes.routing_choices import LayerChoices, Tokens, collect, mixtures
from moefacts.probes.routing_information import information_table
from moefacts.runs import layout, tables
from moefacts.runs.probe_table import ProbeTable
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.checkpoint import load_weights
from moefacts.training.evaluation import Evaluator
from moefacts.training.pack import pack

NUM_BIOGRAPHIES = 512
_BATCH_SIZE = 128
_ROLES = [role for role in Role if role not in (Role.PADDING, Role.BOUNDARY)]


def use_table(tokens: Tokens, choices: dict[int, LayerChoices]) -> pd.DataFrame:
    """The share of each expert in the assignments of each token role and of each attribute's value tokens."""
    rows = []
    for layer, layer_choices in choices.items():
        by_role = layer_choices.counts_by(tokens.role_N, len(Role))
        by_attribute = layer_choices.counts_by(tokens.attribute_N, len(ATTRIBUTES))
        groups = [("role", role.name.lower(), by_role[role]) for role in _ROLES]
        groups += [("attribute", name, by_attribute[index]) for index, name in enumerate(ATTRIBUTES)]
        for kind, name, count_E in groups:
            for expert, count in enumerate(count_E):
                share = count / max(count_E.sum(), 1)
                rows.append({"layer": layer, "kind": kind, "label": name, "expert": expert, "share": share})
    return pd.DataFrame(rows)


def vocabulary_specialisation(tokens: Tokens, layer_choices: LayerChoices) -> float:
    """Mean over token ids of the largest share that one expert has of that id's assignments."""
    _, code_N = np.unique(tokens.id_N, return_inverse=True)
    counts = layer_choices.counts_by(code_N, int(code_N.max()) + 1)
    return float((counts.max(axis=1) / counts.sum(axis=1)).mean())


def coactivation_table(choices: dict[int, LayerChoices]) -> pd.DataFrame:
    """N_ij / N_i for all pairs of experts: the share of the tokens with expert i that also use expert j."""
    rows = []
    for layer, layer_choices in choices.items():
        num_tokens, num_experts = len(layer_choices.expert_NK), layer_choices.num_experts
        used_NE = np.zeros((num_tokens, num_experts))
        np.put_along_axis(used_NE, layer_choices.expert_NK, 1.0, axis=1)
        both_EE = used_NE.T @ used_NE
        share_EE = both_EE / np.maximum(np.diag(both_EE)[:, None], 1)
        for i in range(num_experts):
            rows += [
                {"layer": layer, "expert": i, "other": j, "share": share_EE[i, j]} for j in range(num_experts) if i != j
            ]
    return pd.DataFrame(rows, columns=list(tables.COACTIVATION.columns))


def overlap(first: LayerChoices, second: LayerChoices) -> float:
    """Router saturation: mean over tokens of |E_first ∩ E_second| / K (OLMoE, section 5.1)."""
    same_NKK = first.expert_NK[:, :, None] == second.expert_NK[:, None, :]
    return float(same_NKK.any(axis=2).mean())


def saturation_table(
    run: Path, model: Transformer, evaluator: Evaluator, last: dict[int, LayerChoices]
) -> pd.DataFrame:
    """Overlap of every checkpoint's choices with the ``last`` ones; ``model`` ends with the last weights."""
    rows = []
    for step in layout.checkpoint_steps(run):
        load_weights(run, step, model)
        _, choices = collect(model, evaluator)
        rows += [{"step": step, "layer": layer, "saturation": overlap(choices[layer], last[layer])} for layer in last]
    return pd.DataFrame(rows)


@torch.no_grad()
def ablation_table(model: Transformer, evaluator: Evaluator) -> pd.DataFrame:
    """Change of each attribute's loss when the output of one expert at a time is left out."""
    model.eval()
    intact_A = evaluator.measure(model).attribute_loss.mean(axis=0)
    rows = []
    for layer, mixture in mixtures(model):
        down = mixture.experts.down
        for expert in range(mixture.config.num_experts):
            weights = down[expert].clone()
            down[expert].zero_()
            change_A = evaluator.measure(model).attribute_loss.mean(axis=0) - intact_A
            down[expert].copy_(weights)
            rows += [
                {"layer": layer, "expert": expert, "attribute": attribute, "loss_change": float(change)}
                for attribute, change in zip(ATTRIBUTES, change_A, strict=True)
            ]
    return pd.DataFrame(rows)


@torch.no_grad()
def biography_table(model: Transformer, batcher: Batcher) -> pd.DataFrame:
    """One biography, token by token, with the first-choice expert of every layer."""
    model.eval()
    batch = batcher.training_batch(0, 1)
    packing = pack(batch)
    routings = model(batch.inputs_BT, packing).routings
    ids = batch.inputs_BT[0][packing.real_N].tolist()
    texts = batcher.tokenizer.tokens(ids)
    roles = [Role(role).name.lower() for role in batch.role_BT[0, :-1][packing.real_N].tolist()]
    return pd.DataFrame(
        [
            {"layer": layer, "position": position, "token": text, "role": role, "expert": int(expert)}
            for layer, routing in routings.items()
            for position, (text, role, expert) in enumerate(
                zip(texts, roles, routing.expert_NK[:, 0].tolist(), strict=True)
            )
        ]
    )


def untrained_model(run: Path, model: Transformer) -> Transformer:
    """The trained ``model`` of ``run`` as it was before its first update, on the same device.

    Its weights are those of the checkpoint of step 0 or, when the run has none or started from the weights of another
    one, those that the run's seed gives.
    """
    config = read_config(run / layout.CONFIG)
    fresh = build_model(model.config, model.vocab_size, config.seed)
    if 0 in layout.checkpoint_steps(run) and not config.init.is_on:
        load_weights(run, 0, fresh)
    return fresh.to(model.unembedding_VD.device).eval()


def routing_tables(run: Path, model: Transformer, batcher: Batcher) -> dict[ProbeTable, pd.DataFrame]:
    """All routing tables of a trained mixture; ``model`` holds its last weights before and afterwards."""
    evaluator = Evaluator(batcher, batcher.cohort, NUM_BIOGRAPHIES, _BATCH_SIZE)
    tokens, choices = collect(model, evaluator)
    untrained = collect(untrained_model(run, model), evaluator)
    information = {"trained": information_table(tokens, choices), "untrained": information_table(*untrained)}
    vocabulary = [{"layer": n, "specialisation": vocabulary_specialisation(tokens, c)} for n, c in choices.items()]
    return {
        tables.EXPERT_USE: use_table(tokens, choices),
        tables.INFORMATION: pd.concat([table.assign(weights=name) for name, table in information.items()]),
        tables.VOCABULARY: pd.DataFrame(vocabulary),
        tables.COACTIVATION: coactivation_table(choices),
        tables.ABLATION: ablation_table(model, evaluator),
        tables.BIOGRAPHY: biography_table(model, batcher),
        tables.SATURATION: saturation_table(run, model, evaluator, choices),
    }
