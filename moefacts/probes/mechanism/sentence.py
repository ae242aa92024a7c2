"""One sentence, looked at closely: what the token before the value attends to, and what is read there, by layer.

Shape legend: T positions, V vocabulary, H heads, L layers.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch

from moefacts.models.transformer import ATTENTION, HIDDEN_STATES, Transformer
from moefacts.probes.first_tokens import candidates_of
from moefacts.probes.mechanism.interventions import Subject
from moefacts.runs.tables import MECHANISM_SENTENCE
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.biography import BiographyPlan
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.prompts import Prompts, prompts
from moefacts.synthetic_data.sampling import evaluation_plan
from moefacts.training.checkpoint import load_weights

ATTRIBUTE = "company"


def sentence_of(batcher: Batcher, cohort: str) -> Prompts:
    """One prompt: the sentence about the company of the first person whom evaluation asks about in ``cohort``."""
    plan = evaluation_plan(batcher.population, cohort, 1)
    chosen = plan.attribute_BA == ATTRIBUTES.index(ATTRIBUTE)
    return prompts(
        batcher, BiographyPlan(plan.individual_B, plan.attribute_BA[chosen][:, None], plan.template_BA[chosen][:, None])
    )


def first_token_texts(batcher: Batcher) -> dict[int, str]:
    """First token of a value of ``ATTRIBUTE`` -> the value, or the token and "…" if several values begin with it."""
    values = batcher.population.pools.values(ATTRIBUTE)
    first_V = [first for first, *_ in batcher.tokenizer.encode([f" {value}" for value in values])]
    text_V = batcher.tokenizer.tokens(first_V)
    return {
        token: str(value) if first_V.count(token) == 1 else f"{text.strip(' ▁')} …"
        for token, text, value in zip(first_V, text_V, values, strict=True)
    }


@torch.no_grad()
def sentence_rows(
    model: Transformer, batcher: Batcher, prompt: Prompts
) -> Iterator[tuple[int, int, float, str, float]]:
    """For every layer and token up to the one before the value, what that one does there.

    Yields:
        Layer, position, attention to the token there (mean over heads), and the best value according to the state after
        the layer, read as if it were the last one, with the probability of its first token among all tokens.
    """
    subject, candidates = Subject(model, prompt), candidates_of(batcher)[ATTRIBUTES.index(ATTRIBUTE)]
    output = model(prompt.token_NT, subject.packing, prompt.last_N[:, None], keep={ATTENTION, HIDDEN_STATES})
    token_C, texts = torch.from_numpy(candidates.token_C).to(prompt.token_NT.device), first_token_texts(batcher)
    for layer, state_11D in enumerate(output.hidden_states[1:]):
        share_V = model.unembed(model.final_norm(state_11D.flatten(0, 1)))[0].double().softmax(dim=0)
        best = int(token_C[share_V[token_C].argmax()])
        attention_T = output.attention[layer][0, :, 0].double().mean(dim=0)
        for position, attention in enumerate(attention_T[: int(prompt.length_N[0])].tolist()):
            yield layer, position, attention, texts[best], float(share_V[best])


def sentence_table(run: Path, model: Transformer, batcher: Batcher, steps: Sequence[int], cohort: str) -> pd.DataFrame:
    """The sentence at ``steps``, as in ``runs.tables.MECHANISM_SENTENCE``; empty if the model has no attention.

    Afterwards ``model`` holds the weights of the last step.
    """
    prompt = sentence_of(batcher, cohort)
    token_T = batcher.tokenizer.tokens(prompt.token_NT[0].tolist())
    value = batcher.population.facts(int(prompt.individual_N[0]))[ATTRIBUTE]
    target = first_token_texts(batcher)[int(prompt.target_N[0])]
    rows = []
    for step in steps if model.config.mixer == ATTENTION else ():
        load_weights(run, step, model)
        for layer, position, attention, answer, probability in sentence_rows(model, batcher, prompt):
            is_right = int(answer == target)
            rows.append((step, layer, position, token_T[position], attention, answer, probability, is_right, value))
    return pd.DataFrame(rows, columns=list(MECHANISM_SENTENCE.columns))
