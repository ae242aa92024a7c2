"""What the choice of experts says about a token's id, and about its attribute and its individual beyond the id.

Shape legend: N tokens, E experts, L labels.
"""

import numpy as np
import pandas as pd

from moefacts.probes.routing_choices import LayerChoices, Tokens

_PERMUTATIONS = 5


def mutual_information(counts_LE: np.ndarray) -> float:
    """Plug-in estimate, in nats, of the mutual information of label and expert, from their joint counts."""
    joint_LE = counts_LE / counts_LE.sum()
    independent_LE = joint_LE.sum(axis=1, keepdims=True) * joint_LE.sum(axis=0, keepdims=True)
    some = joint_LE > 0
    return float((joint_LE[some] * np.log(joint_LE[some] / independent_LE[some])).sum())


def conditional_information(choices: LayerChoices, label_N: np.ndarray, given_N: np.ndarray) -> float:
    """Plug-in estimate, in nats, of I(expert; label | given) = I(expert; label and given) − I(expert; given)."""
    pair_N = np.unique(given_N * (int(label_N.max()) + 1) + label_N, return_inverse=True)[1]
    return _information(choices, pair_N) - _information(choices, given_N)


def permuted_within(given_N: np.ndarray, label_N: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The labels, permuted at random among the tokens that share a value of ``given_N``."""
    permuted_N = np.empty_like(label_N)
    permuted_N[given_N.argsort(kind="stable")] = label_N[np.lexsort((generator.random(len(given_N)), given_N))]
    return permuted_N


def information_table(tokens: Tokens, choices: dict[int, LayerChoices]) -> pd.DataFrame:
    """I(expert; attribute | token id), I(expert; individual | token id) and I(expert; token id), for every layer.

    A token's id says much about its attribute and something about its individual. Without the condition, a router that
    reads nothing but the id would seem to know both.

    Returns:
        A table with the columns of ``runs.tables.INFORMATION`` but ``weights``. ``information`` and ``entropy`` are in
        nats. The entropy is H(expert), the entropy of the experts' shares of all assignments of the tokens that have
        such a label (value tokens for the attribute, all tokens otherwise), whatever their ids. ``fraction`` is
        information / entropy. So the fractions of the token id and of the individual beyond it add up to 1 at most.
        ``control`` is the fraction when labels are permuted among the tokens of the same id (token ids: among all
        tokens), which is what a finite sample alone gives. An individual that occurs in one biography cannot be
        distinguished from its templates and the order of its sentences.
    """
    generator = np.random.default_rng(0)
    everything_N = np.zeros_like(tokens.id_N)
    rows = []
    for layer, layer_choices in choices.items():
        for name, label_N, given_N in (
            ("attribute_given_token", tokens.attribute_N, tokens.id_N),
            ("individual_given_token", tokens.individual_N, tokens.id_N),
            ("token", tokens.id_N, everything_N),
        ):
            kept = label_N >= 0
            part = LayerChoices(layer_choices.expert_NK[kept], layer_choices.num_experts)
            label_N, given_N = (np.unique(column[kept], return_inverse=True)[1] for column in (label_N, given_N))
            information = conditional_information(part, label_N, given_N)
            permuted = [
                conditional_information(part, permuted_within(given_N, label_N, generator), given_N)
                for _ in range(_PERMUTATIONS)
            ]
            entropy = _expert_entropy(part)
            fractions = {"fraction": information, "control": float(np.mean(permuted))}
            rows.append(
                {"layer": layer, "label": name, "information": information, "entropy": entropy}
                | {column: amount / max(entropy, 1e-12) for column, amount in fractions.items()}
            )
    return pd.DataFrame(rows)


def _information(choices: LayerChoices, code_N: np.ndarray) -> float:
    return mutual_information(choices.counts_by(code_N, int(code_N.max()) + 1))


def _expert_entropy(choices: LayerChoices) -> float:
    share_E = np.bincount(choices.expert_NK.ravel(), minlength=choices.num_experts) / choices.expert_NK.size
    return float(-(share_E[share_E > 0] * np.log(share_E[share_E > 0])).sum())
