"""What is inside a model while it reads a text: residual stream, attention, and the choices of routers.

Shape legend: T tokens, D model width, L layers, H heads, E experts, K experts chosen per token.
"""

from dataclasses import dataclass

import numpy as np
import torch

from moefacts.models.transformer import ATTENTION, HIDDEN_STATES, Transformer
from moefacts.probes.free_text import text_ids
from moefacts.synthetic_data.batches import Batcher


@dataclass(frozen=True)
class Activations:
    """What is inside a model while it reads one text. Layers are numbered from 1; axes of arrays begin at 0, as ever.

    Attributes:
        tokens: the T tokens, the begin token included.
        residual_LTD: the residual stream before the first layer and after every layer, shape (L + 1, T, D).
        attention_LHTT: attention from each token (third axis) to each token (fourth axis), shape (L, H, T, T); without
            layers if the model has a recurrence in place of attention.
        gates_TE: layer number, from 1 on -> the router's gates, shape (T, E); empty for a dense model.
        experts_TK: layer number, from 1 on -> the experts of each token (from 0 on), best first, shape (T, K); empty
            for a dense model.
    """

    tokens: list[str]
    residual_LTD: np.ndarray
    attention_LHTT: np.ndarray
    gates_TE: dict[int, np.ndarray]
    experts_TK: dict[int, np.ndarray]


@torch.no_grad()
def activations(model: Transformer, batcher: Batcher, text: str) -> Activations:
    """What is inside ``model`` while it reads ``text``, all in fp32.

    Raises:
        UserError: a word of ``text`` is not in the vocabulary.
    """
    model.eval()
    ids = text_ids(batcher.tokenizer, text)
    output = model(torch.tensor([ids], device=batcher.device), keep=(ATTENTION, HIDDEN_STATES))
    residual_LTD = torch.stack([state[0].float() for state in output.hidden_states]).cpu().numpy()
    attention = [output.attention[layer][0].float().cpu().numpy() for layer in sorted(output.attention)]
    return Activations(
        tokens=batcher.tokenizer.tokens(ids),
        residual_LTD=residual_LTD,
        attention_LHTT=np.stack(attention) if attention else np.zeros((0, 0, len(ids), len(ids)), dtype=np.float32),
        gates_TE={layer + 1: routing.gates_NE.cpu().numpy() for layer, routing in output.routings.items()},
        experts_TK={layer + 1: routing.expert_NK.cpu().numpy() for layer, routing in output.routings.items()},
    )
