"""Whether the routers of a trained mixture treat people whom training has not shown differently from others.

Shape legend: N tokens, B people, E experts, K experts chosen per token.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from moefacts.models.transformer import Transformer
from moefacts.probes.rerouting import BEFORE_VALUE, NAME_END, token_kinds
from moefacts.probes.shift import one_biography_each
from moefacts.runs.tables import ROUTER_DETECTION
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.evaluation import Evaluator

NUM_PEOPLE = 256
_NUM_FOLDS = 5

Signs = dict[tuple[int, str], tuple[np.ndarray, np.ndarray]]


@torch.no_grad()
def routing_signs(model: Transformer, evaluator: Evaluator) -> Signs:
    """For every layer and kind of token: each biography's mean router entropy (B,), and its use of experts (B, E).

    The entropy is that of the softmax of the router's scores, in nats. The use is each expert's share of the choices.
    The order of biographies is the same in all arrays.
    """
    model.eval()
    row_N: list[np.ndarray] = []
    entropy: dict[int, list[np.ndarray]] = {}
    chosen: dict[int, list[np.ndarray]] = {}
    for rows, batch, _, packing in evaluator.batches:
        row_N.append(rows[packing.real_N.cpu().numpy() // packing.width])
        for layer, routing in model(batch.inputs_BT, packing).routings.items():
            gates_NE = routing.logits_NE.float().softmax(dim=1)
            chosen_NE = torch.zeros_like(gates_NE).scatter(1, routing.expert_NK, 1 / routing.expert_NK.shape[1])
            entropy.setdefault(layer, []).append(torch.special.entr(gates_NE).sum(dim=1).cpu().numpy())
            chosen.setdefault(layer, []).append(chosen_NE.cpu().numpy())
    every_N, kinds, signs = np.concatenate(row_N), token_kinds(evaluator), {}
    for layer in entropy:
        table_N = pd.DataFrame(np.concatenate(chosen[layer])).assign(entropy=np.concatenate(entropy[layer]))
        for kind in (NAME_END, BEFORE_VALUE):
            mean_B = table_N[kinds[kind]].groupby(every_N[kinds[kind]]).mean()
            signs[layer, kind] = (mean_B["entropy"].to_numpy(), mean_B.drop(columns="entropy").to_numpy())
    return signs


def router_detection_table(model: Transformer, batcher: Batcher, shown: str, unseen: Sequence[str]) -> pd.DataFrame:
    """How well routing tells people who were not shown from as many who were, as in ``runs.tables.ROUTER_DETECTION``.

    There is a row for every cohort of ``unseen``, layer, kind of token (the last one of a name, the one before a value)
    and signal. ``entropy``: the AUROC is the probability that the router's entropy is higher for somebody who was not
    shown. ``experts``: it is that of a logistic regression on the use of experts, for people who are not among those
    that it was fitted to (five folds). ``control`` is the same with permuted labels, where only chance is left.

    Args:
        model: the run's model.
        batcher: its population.
        shown: a cohort that training has shown.
        unseen: cohorts of which it has shown nobody. Those of a single person are left out.
    """
    seed, rows = batcher.population.seed, []
    known = routing_signs(model, one_biography_each(batcher, shown, NUM_PEOPLE))
    for cohort in unseen:
        strange = routing_signs(model, one_biography_each(batcher, cohort, NUM_PEOPLE))
        for (layer, kind), parts in strange.items():
            people = min(len(parts[0]), len(known[layer, kind][0]))
            if people < 2:
                continue
            is_strange_B = np.repeat([0, 1], people)
            permuted_B = np.random.default_rng(seed).permutation(is_strange_B)
            entropy_B, use_BE = (
                np.concatenate([one[:people], other[:people]])
                for one, other in zip(known[layer, kind], parts, strict=True)
            )
            for signal, score in (
                ("entropy", lambda _, entropy_B=entropy_B: entropy_B),
                ("experts", lambda label_B, use_BE=use_BE: _out_of_fold(use_BE, label_B, seed)),
            ):
                auroc, control = (
                    float(roc_auc_score(label_B, score(label_B))) for label_B in (is_strange_B, permuted_B)
                )
                rows.append(
                    {"cohort": cohort, "layer": layer, "tokens": kind, "signal": signal}
                    | {"people": people, "auroc": auroc, "control": control}
                )
    return pd.DataFrame(rows, columns=list(ROUTER_DETECTION.columns))


def _out_of_fold(x_BE: np.ndarray, label_B: np.ndarray, seed: int) -> np.ndarray:
    """The probability of label 1 of everybody, by a regression that was fitted to others."""
    folds = StratifiedKFold(min(_NUM_FOLDS, int(label_B.sum())), shuffle=True, random_state=seed)
    return cross_val_predict(LogisticRegression(), x_BE, label_B, cv=folds, method="predict_proba")[:, 1]
