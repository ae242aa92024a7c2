"""Which tokens a trained mixture sends to which experts: use, information, co-activation, saturation, ablation.

Shape legend: N tokens, E experts, K experts chosen per token, M = N·K assignments, L labels, A attributes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from moefacts.models.layer import DecoderLayer
from moefacts.models.moe import MixtureOfExperts
from moefacts.models.transformer import Transformer
from moefacts.runs import layout, tables
from moefacts.runs.tables import ProbeTable
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.checkpoint import load_weights
from moefacts.training.evaluation import Evaluator
from moefacts.training.pack import pack

NUM_BIOGRAPHIES = 512
_BATCH_SIZE = 128
_PERMUTATIONS = 5
_ROLES = [role for role in Role if role not in (Role.PADDING, Role.BOUNDARY)]


@dataclass(frozen=True)
class Tokens:
    """Labels of the tokens that a router saw: role, attribute, the individual of the biography, and token id."""

    role_N: np.ndarray
    attribute_N: np.ndarray
    individual_N: np.ndarray
    id_N: np.ndarray


@dataclass(frozen=True)
class LayerChoices:
    """The experts that every token chose in one layer, best first, out of ``num_experts``."""

    expert_NK: np.ndarray
    num_experts: int

    def counts_by(self, label_N: np.ndarray, num_labels: int) -> np.ndarray:
        """How often tokens of each label use each expert, shape (L, E); tokens with a negative label are left out."""
        label_M = np.repeat(label_N, self.expert_NK.shape[1])
        kept_M = label_M >= 0
        cells = label_M[kept_M] * self.num_experts + self.expert_NK.ravel()[kept_M]
        return np.bincount(cells, minlength=num_labels * self.num_experts).reshape(num_labels, self.num_experts)


@torch.no_grad()
def collect(model: Transformer, evaluator: Evaluator) -> tuple[Tokens, dict[int, LayerChoices]]:
    """Run the biographies of ``evaluator`` through the model and keep what its routers chose."""
    model.eval()
    labels: list[tuple[np.ndarray, ...]] = []
    chosen: dict[int, list[np.ndarray]] = {}
    for _, batch, _, packing in evaluator.batches:
        for layer, routing in model(batch.inputs_BT, packing).routings.items():
            chosen.setdefault(layer, []).append(routing.expert_NK.cpu().numpy())
        individual_BT = batch.individual_B[:, None].expand(batch.inputs_BT.shape)
        fields = (batch.role_BT[:, :-1], batch.attribute_BT[:, :-1], individual_BT, batch.inputs_BT)
        labels.append(tuple(field.flatten()[packing.real_N].cpu().numpy() for field in fields))
    columns = [np.concatenate(column) for column in zip(*labels, strict=True)]
    choices = {
        layer: LayerChoices(np.concatenate(parts), _mixture(model, layer).config.num_experts)
        for layer, parts in chosen.items()
    }
    return Tokens(*columns), choices


def mutual_information(counts_LE: np.ndarray) -> float:
    """Plug-in estimate, in nats, of the mutual information of label and expert, from their joint counts."""
    joint_LE = counts_LE / counts_LE.sum()
    independent_LE = joint_LE.sum(axis=1, keepdims=True) * joint_LE.sum(axis=0, keepdims=True)
    some = joint_LE > 0
    return float((joint_LE[some] * np.log(joint_LE[some] / independent_LE[some])).sum())


def information_table(tokens: Tokens, choices: dict[int, LayerChoices]) -> pd.DataFrame:
    """I(expert; attribute), I(expert; individual), I(expert; token id), each as a fraction of the expert entropy.

    ``control`` is the same with labels permuted over tokens, which is what a finite sample alone gives.
    """
    generator = np.random.default_rng(0)
    rows = []
    for layer, layer_choices in choices.items():
        for name, label_N in (
            ("attribute", tokens.attribute_N),
            ("individual", tokens.individual_N),
            ("token", tokens.id_N),
        ):
            kept = label_N >= 0
            part = LayerChoices(layer_choices.expert_NK[kept], layer_choices.num_experts)
            _, code_N = np.unique(label_N[kept], return_inverse=True)
            num_labels = int(code_N.max()) + 1
            counts_LE = part.counts_by(code_N, num_labels)
            share_E = counts_LE.sum(axis=0) / counts_LE.sum()
            entropy = float(-(share_E[share_E > 0] * np.log(share_E[share_E > 0])).sum())
            control = np.mean(
                [
                    mutual_information(part.counts_by(generator.permutation(code_N), num_labels))
                    for _ in range(_PERMUTATIONS)
                ]
            )
            information = mutual_information(counts_LE)
            fractions = {"fraction": information / max(entropy, 1e-12), "control": control / max(entropy, 1e-12)}
            rows.append({"layer": layer, "label": name, "information": information, "entropy": entropy, **fractions})
    return pd.DataFrame(rows)


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
    for layer, mixture in _mixtures(model):
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


def _mixture(model: Transformer, layer: int) -> MixtureOfExperts:
    return dict(_mixtures(model))[layer]


def _mixtures(model: Transformer) -> Iterator[tuple[int, MixtureOfExperts]]:
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, DecoderLayer)
        if isinstance(layer.feed_forward, MixtureOfExperts):
            yield number, layer.feed_forward


def routing_tables(run: Path, model: Transformer, batcher: Batcher) -> dict[ProbeTable, pd.DataFrame]:
    """All routing tables of a trained mixture; ``model`` holds its last weights before and afterwards."""
    evaluator = Evaluator(batcher, batcher.cohort, NUM_BIOGRAPHIES, _BATCH_SIZE)
    tokens, choices = collect(model, evaluator)
    vocabulary = [{"layer": n, "specialisation": vocabulary_specialisation(tokens, c)} for n, c in choices.items()]
    return {
        tables.EXPERT_USE: use_table(tokens, choices),
        tables.INFORMATION: information_table(tokens, choices),
        tables.VOCABULARY: pd.DataFrame(vocabulary),
        tables.COACTIVATION: coactivation_table(choices),
        tables.ABLATION: ablation_table(model, evaluator),
        tables.BIOGRAPHY: biography_table(model, batcher),
        tables.SATURATION: saturation_table(run, model, evaluator, choices),
    }
