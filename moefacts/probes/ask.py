"""What a model says about one person: the likeliest values of every attribute, with their probabilities.

Shape legend: W prefixes in the beam, M templates, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from moefacts.errors import UserError
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.next_token import continuations, next_token_logits

_BEAM_WIDTH = 16


@dataclass(frozen=True)
class Answer:
    """The answers about one attribute: (value, probability) pairs, likeliest first. Nobody's ``truth`` is None.

    Of a model that was taught to say so, "unknown" or "[IDK]" can be one of the answers.
    """

    attribute: str
    answers: list[tuple[str, float]]
    truth: str | None


def check_name(full_name: str, batcher: Batcher) -> None:
    """Raise ``UserError`` unless the name has three parts that the tokenizer can write."""
    if len(full_name.split()) != 3:
        raise UserError(f"'{full_name}' is not a full name; give first, middle and last name in one pair of quotes")
    batcher.tokenizer.encode([f" {part}" for part in full_name.split()])


def ask(model: Transformer, batcher: Batcher, full_name: str, top: int) -> Iterator[Answer]:
    """Ask about every attribute, in the templates held out for the person, or in all when nobody has the name.

    The probability of a value is the product over its tokens, averaged over templates. Values are found by a beam
    search over the values that the attribute can take, and over what the model was taught to say instead. What else is
    asked does not matter, except in mixtures that are not causal (a limited capacity, experts that choose tokens),
    whose experts the prompts share.

    Raises:
        UserError: the name cannot be asked about.
    """
    check_name(full_name, batcher)
    model.eval()
    population = batcher.population
    individual = population.find(full_name)
    name_ids = [i for ids in batcher.tokenizer.encode([f" {part}" for part in full_name.split()]) for i in ids]
    for index, attribute in enumerate(ATTRIBUTES):
        templates = population.templates[attribute]
        if individual is not None:
            held_out = population.splits.held_out_SH[population.split_PA[individual, index]]
            templates = tuple(templates[i] for i in held_out)
        prefixes = batcher.tokenizer.encode([template.prefix for template in templates])
        middles = batcher.tokenizer.encode([template.middle for template in templates])
        begin = [batcher.tokenizer.begin_id]
        prompts = [begin + prefix + name_ids + middle for prefix, middle in zip(prefixes, middles, strict=True)]
        values = (*population.pools.values(attribute), *batcher.abstentions)
        value_ids = batcher.tokenizer.encode([f" {value}" for value in values])
        found = _likeliest(model, prompts, value_ids, max(top, _BEAM_WIDTH), batcher.device)
        truth = None if individual is None else population.facts(individual)[attribute]
        yield Answer(attribute, [(values[i], probability) for i, probability in found[:top]], truth)


def _likeliest(
    model: Transformer, prompts: list[list[int]], candidates: list[list[int]], width: int, device: torch.device
) -> list[tuple[int, float]]:
    """Beam search over the trie of ``candidates``; returns (candidate, probability) pairs, likeliest first."""
    children = continuations(candidates)
    complete = {tuple(ids): index for index, ids in enumerate(candidates)}
    beam: dict[tuple[int, ...], np.ndarray] = {(): np.ones(len(prompts))}
    done: list[tuple[int, float]] = []
    while beam:
        distribution_WMV = _distributions(model, prompts, list(beam), device)
        extended: dict[tuple[int, ...], np.ndarray] = {}
        for (prefix, probability_M), distribution_MV in zip(beam.items(), distribution_WMV, strict=True):
            for token in children[prefix]:
                extended[(*prefix, token)] = probability_M * distribution_MV[:, token]
        done += [(complete[ids], float(p.mean())) for ids, p in extended.items() if ids in complete]
        open_prefixes = [(ids, p) for ids, p in extended.items() if ids in children]
        beam = dict(sorted(open_prefixes, key=lambda item: -item[1].mean())[:width])
    return sorted(done, key=lambda item: -item[1])


@torch.no_grad()
def _distributions(
    model: Transformer, prompts: list[list[int]], prefixes: list[tuple[int, ...]], device: torch.device
) -> np.ndarray:
    """Next-token distributions after every prompt followed by every prefix; shape (W, M, V)."""
    rows = [[*prompt, *prefix] for prefix in prefixes for prompt in prompts]
    logits_NV = next_token_logits(lambda *arguments: model(*arguments).logits, rows, device)
    return logits_NV.float().softmax(dim=-1).view(len(prefixes), len(prompts), -1).double().cpu().numpy()
