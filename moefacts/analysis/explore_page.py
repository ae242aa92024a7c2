"""The page on which single people are explored: one self-contained HTML file that loads nothing.

What it shows is JSON in the page. Every text of the run is data there, and never markup.

Shape legend: K answers at a value, L layers, T tokens.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2.utils import htmlsafe_json_dumps

from moefacts.analysis.report import page_template

MOST_BYTES = 1_500_000
_PAGE = 60_000  # bytes of the page without people: markup, style and script, and the texts of values
_PERSON, _TOKEN, _STATE, _ANSWER = 1000, 40, 60, 18  # bytes at most of what a person adds, by its parts


def moment(
    answers: Sequence[Sequence[tuple[int, float]]],
    truths: Sequence[float],
    attention_LT: Sequence[np.ndarray],
    expert_T: Mapping[int, np.ndarray],
) -> dict[str, Any]:
    """One person at one checkpoint, as the page keeps it.

    Probabilities have three digits, and six decimals at most. Attention is bytes in base64, value after value and layer
    after layer; 255 is an attention of 1.

    Args:
        answers: for every value in reading order the K best answers, each the number of its text and its probability.
        truths: the probability of each true value.
        attention_LT: for every value the attention from the token before it, layer by layer, to the tokens up to it.
        expert_T: layer -> the expert of every token.
    """
    levels = [np.rint(255 * each.ravel()).astype(np.uint8) for each in attention_LT]
    return {
        "p": [_short(truth) for truth in truths],
        "top": [[part for text, share in best for part in (text, _short(share))] for best in answers],
        "attention": base64.b64encode(np.concatenate(levels).tobytes()).decode(),
        "experts": [each_T.tolist() for each_T in expert_T.values()],
    }


def _short(share: float) -> float:
    return round(float(f"{share:.3g}"), 6)


def most_bytes(
    num_tokens: Sequence[int],
    places: Sequence[Sequence[int]],
    num_steps: int,
    num_answers: int,
    num_layers: int,
    num_routed: int,
    num_experts: int,
) -> int:
    """An upper bound on the size of a page, known before any model has run.

    Args:
        num_tokens: the number of tokens of each person's biography.
        places: for each person the positions of the tokens before the values.
        num_steps: the number of checkpoints.
        num_answers: the number of answers at each value.
        num_layers: the number of layers with attention.
        num_routed: the number of layers with experts.
        num_experts: the number of experts of a layer.
    """
    total = _PAGE
    for tokens, at in zip(num_tokens, places, strict=True):
        attention = 4 * -(-num_layers * (sum(at) + len(at)) // 3)
        experts = num_routed * (tokens * (len(str(num_experts)) + 1) + 2)
        state = _STATE + len(at) * (num_answers + 1) * _ANSWER + attention + experts
        total += _PERSON + tokens * _TOKEN + num_steps * state
    return total


def explore_page(data: Mapping[str, Any]) -> bytes:
    """The page for ``data``, whose parts ``experiments.tasks.explore`` explains."""
    script = (Path(__file__).parent / "explore.js").read_text(encoding="utf-8")
    person, last = data["people"][0], len(data["steps"]) - 1
    state = person["moments"][last]
    rows = [
        {
            "attribute": data["attributes"][value["attribute"]],
            "truth": data["texts"][value["truth"]],
            "answers": [(data["texts"][text], share) for text, share in zip(best[::2], best[1::2], strict=True)],
        }
        for value, best in zip(person["values"], state["top"], strict=True)
    ]
    page = page_template("explore.html").render(
        title=f"{data['run']}, person by person",
        data=data,
        person=person,
        rows=rows,
        step=data["steps"][last],
        json=htmlsafe_json_dumps(data, separators=(",", ":")),
        script=script,
    )
    return page.encode()
