"""Where attention goes, layer by layer and checkpoint by checkpoint: the study's attention signatures (its Figure 3).

Two kinds of rows of the attention matrix are measured: that of the last token of every name, and that of the token
before every value. A share is the attention that a row gives to one kind of tokens anywhere in the text before it. Its
reference is the share of those tokens among all that the row can see, which is what attention without preference gives.

Shape legend: B biographies, H heads, T positions, Q measured rows per biography.
"""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from moefacts.models.transformer import ATTENTION, Transformer
from moefacts.runs import layout
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.training.checkpoint import load_weights
from moefacts.training.evaluation import Evaluator

NUM_BIOGRAPHIES = 512
_BATCH_SIZE = 128
_NAMES = torch.tensor([Role.FIRST_NAME, Role.MIDDLE_NAME, Role.LAST_NAME])


def places_of(batch: Batch) -> dict[str, Tensor]:
    """Positions in the inputs of the last token of every name and of the token before every value, each (B, Q)."""
    role_BT, next_BT = batch.role_BT[:, :-1], batch.role_BT[:, 1:]
    is_place = {
        "name": (role_BT == Role.LAST_NAME) & (next_BT != Role.LAST_NAME),
        "attribute": next_BT == Role.FIRST_VALUE,
    }
    return {row: place_BT.nonzero()[:, 1].view(len(role_BT), -1) for row, place_BT in is_place.items()}


def signatures(row: str, attention_BHQT: Tensor, at_BQ: Tensor, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    """Every signature of one layer and one kind of row: name -> (mean over heads, reference), both of shape (B, Q).

    ``name_to_name`` is the attention from the last token of a name to all other name tokens; ``attribute_to_name`` and
    ``attribute_to_text`` are that from the token before a value to name tokens and to template tokens. ``name_entropy``
    and ``attribute_entropy`` are the entropy of these rows over ln t, where t is the number of tokens they see: 1 means
    attention without preference, 0 means all of it on one token.

    Args:
        row: "name" or "attribute", as in ``places_of``.
        attention_BHQT: attention of the positions ``at_BQ`` to all positions; zero on later ones.
        at_BQ: ``places_of(batch)[row]``.
        batch: the biographies.
    """
    role_BT = batch.role_BT[:, :-1]
    place_T, place_BQ1 = torch.arange(role_BT.shape[1], device=role_BT.device), at_BQ[:, :, None]
    is_name_BQT = torch.isin(role_BT, _NAMES.to(role_BT.device))[:, None] & (place_T <= place_BQ1)
    is_text_BQT = (role_BT == Role.TEMPLATE)[:, None] & (place_T <= place_BQ1)
    if row == "name":
        keys = {"name_to_name": is_name_BQT & (place_T != place_BQ1)}
    else:
        keys = {"attribute_to_name": is_name_BQT, "attribute_to_text": is_text_BQT}
    mean_BQT, num_seen_BQ = attention_BHQT.mean(dim=1), at_BQ + 1
    found = {
        name: ((mean_BQT * is_key_BQT).sum(dim=2), is_key_BQT.sum(dim=2) / num_seen_BQ)
        for name, is_key_BQT in keys.items()
    }
    entropy_BQ = torch.special.entr(attention_BHQT).sum(dim=3).mean(dim=1)
    return found | {f"{row}_entropy": (entropy_BQ / num_seen_BQ.log(), torch.ones_like(entropy_BQ))}


@torch.no_grad()
def measure(model: Transformer, evaluator: Evaluator) -> pd.DataFrame:
    """A table of every layer's signatures, averaged over all biographies: layer, signature, value, reference."""
    model.eval()
    parts: dict[tuple[int, str], list[Tensor]] = {}
    for _, batch, _, packing in evaluator.batches:
        places = places_of(batch)
        row_B1 = torch.arange(len(batch.token_BT), device=batch.token_BT.device)[:, None]
        at_BQ = row_B1 * batch.inputs_BT.shape[1] + torch.cat(list(places.values()), dim=1)
        output = model(batch.inputs_BT, packing, at_BQ, keep={ATTENTION})
        for layer, attention_BHQT in output.attention.items():
            each = attention_BHQT.split([at_BQ.shape[1] for at_BQ in places.values()], dim=2)
            for (row, at_BQ), part_BHQT in zip(places.items(), each, strict=True):
                for name, pair in signatures(row, part_BHQT, at_BQ, batch).items():
                    parts.setdefault((layer, name), []).append(torch.stack([column.double() for column in pair]))
    means = {key: torch.cat(columns, dim=1).mean(dim=(1, 2)).tolist() for key, columns in parts.items()}
    rows = [(layer, name, value, reference) for (layer, name), (value, reference) in means.items()]
    return pd.DataFrame(rows, columns=["layer", "signature", "value", "reference"])


def attention_table(run: Path, model: Transformer, batcher: Batcher) -> pd.DataFrame:
    """The signatures of people trained on at every checkpoint of ``run``, as in ``runs.tables.ATTENTION``.

    Afterwards ``model`` holds the weights of the last checkpoint.
    """
    evaluator = Evaluator(batcher, batcher.cohort, NUM_BIOGRAPHIES, _BATCH_SIZE)
    tables = []
    for step in layout.checkpoint_steps(run):
        load_weights(run, step, model)
        tables.append(measure(model, evaluator).assign(step=step))
    return pd.concat(tables, ignore_index=True)
