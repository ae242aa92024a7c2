"""Where attention goes, layer by layer and checkpoint by checkpoint: the study's attention signatures (its Figure 3).

Two kinds of rows are looked at: those of the last token of every name, and those that predict the first token of a
value. A share is the attention that a row gives to a kind of tokens anywhere in the text before; its reference is the
share of those tokens among all that the row can see, which attention without preference would give.

Shape legend: B biographies, H heads, T positions, Q rows looked at.
"""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from moefacts import run_files
from moefacts.models.transformer import DecoderLayer, Transformer
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.training.checkpoint import load_weights
from moefacts.training.evaluation import Evaluator

NUM_BIOGRAPHIES = 512
_BATCH_SIZE = 128
_NAMES = torch.tensor([Role.FIRST_NAME, Role.MIDDLE_NAME, Role.LAST_NAME])
COLUMNS = ("step", "layer", "signature", "value", "reference")


def signatures(weight_BHTT: Tensor, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    """Every signature of one layer, row by row: its value, averaged over heads, and its reference, each of shape (Q,).

    ``name_to_name``: from the last token of a name to all other name tokens; ``attribute_to_name`` and
    ``attribute_to_text``: from the token before a value to name tokens and to template tokens; ``name_entropy`` and
    ``attribute_entropy``: the entropy of these rows over ln t, where t is how many tokens they see: 1 is attention
    without preference, 0 all of it on one token.

    Args:
        weight_BHTT: attention; row t gives shares to positions up to t.
        batch: the biographies that it is from; T is one less than their tokens.
    """
    role_BT, next_BT = batch.role_BT[:, :-1], batch.role_BT[:, 1:]
    is_name_BT = torch.isin(role_BT, _NAMES.to(role_BT.device))
    is_text_BT = role_BT == Role.TEMPLATE
    found = {}
    for query, is_query_BT in (
        ("name", (role_BT == Role.LAST_NAME) & (next_BT != Role.LAST_NAME)),
        ("attribute", next_BT == Role.FIRST_VALUE),
    ):
        row_Q, place_Q = is_query_BT.nonzero(as_tuple=True)
        weight_QHT = weight_BHTT[row_Q, :, place_Q].float()
        place_T = torch.arange(role_BT.shape[1], device=role_BT.device)
        is_seen_QT, is_own_QT = place_T <= place_Q[:, None], place_T == place_Q[:, None]
        others = {"name": is_name_BT[row_Q] & ~is_own_QT} if query == "name" else {}
        others = others or {"name": is_name_BT[row_Q], "text": is_text_BT[row_Q]}
        for key, is_key_QT in others.items():
            is_key_QT = is_key_QT & is_seen_QT
            share_Q = (weight_QHT.mean(dim=1) * is_key_QT).sum(dim=1)
            found[f"{query}_to_{key}"] = share_Q, is_key_QT.sum(dim=1) / (place_Q + 1)
        entropy_QH = torch.special.entr(weight_QHT).sum(dim=2)
        found[f"{query}_entropy"] = entropy_QH.mean(dim=1) / (place_Q + 1).log(), torch.ones_like(place_Q)
    return found


@torch.no_grad()
def measure(model: Transformer, evaluator: Evaluator) -> pd.DataFrame:
    """Mean signatures of every layer over the rows of all biographies: layer, signature, value, reference."""
    model.eval()
    parts: dict[tuple[int, str], list[Tensor]] = {}
    for _, batch, _, _ in evaluator.batches:
        for layer, weight_BHTT in enumerate(attention_weights(model, batch.inputs_BT)):
            for name, pair in signatures(weight_BHTT, batch).items():
                parts.setdefault((layer, name), []).append(torch.stack([column.double() for column in pair]))
    means = {key: torch.cat(columns, dim=1).mean(dim=1).tolist() for key, columns in parts.items()}
    rows = [(layer, name, value, reference) for (layer, name), (value, reference) in means.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS[1:]))


def attention_weights(model: Transformer, token_BT: Tensor) -> list[Tensor]:
    """The attention of every layer, shape (B, H, T, T); rows of padding mean nothing."""
    weights: list[Tensor] = []

    def keep(module, given) -> None:
        weights.append(module.weights(*given[:3]))

    attentions = [layer.attention for layer in model.layers if isinstance(layer, DecoderLayer) and layer.attention]
    hooks = [attention.register_forward_pre_hook(keep) for attention in attentions]
    try:
        model.hidden(token_BT)
    finally:
        for hook in hooks:
            hook.remove()
    return weights


def write_attention(run: Path, model: Transformer, batcher: Batcher) -> None:
    """Write ``probes/attention.parquet``: the signatures at every checkpoint, of people that are trained on.

    ``model`` is left with the weights of the last one.
    """
    evaluator = Evaluator(batcher, "seen", NUM_BIOGRAPHIES, _BATCH_SIZE)
    tables = []
    for step in run_files.checkpoint_steps(run):
        load_weights(run, step, model)
        tables.append(measure(model, evaluator).assign(step=step))
    (run / run_files.PROBES).mkdir(exist_ok=True)
    table = pd.concat(tables)[list(COLUMNS)]
    run_files.write_durably(
        run / run_files.PROBES / run_files.ATTENTION, lambda path: table.to_parquet(path, index=False)
    )
