"""Self-generated replay: people from before are shown with what the model said of them before fine-tuning.

It needs none of the facts from before, and teaches what the model believed, right or wrong (arXiv 2605.26097).
"""

from collections.abc import Sequence

import numpy as np
import torch

from moefacts.config.schema import RunConfig
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.other_values import with_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import Population
from moefacts.synthetic_data.randomness import random_below, stream_key
from moefacts.synthetic_data.sampling import one_each_plan
from moefacts.training.distributed import from_main, is_main
from moefacts.training.method import measuring
from moefacts.training.next_token import Logits, continuations, next_token_logits
from moefacts.training.step import precision_context

_PURPOSE = "self-generated replay"
_VALUE = 5  # the place of the value among the pieces of a sentence
_STEPS = 1 << 31  # of a draw in [0, 1)


def batcher_of_training(config: RunConfig, model: Transformer, batcher: Batcher) -> Batcher:
    """What makes the training batches: ``batcher``, or with ``sampling.replay_values=model`` one with these values.

    ``model`` holds the weights from which training starts, in a run that is resumed, too. The people and sentences of
    the batches are the same in both.
    """
    if config.sampling.replay_values is None:
        return batcher
    people = _replayed(config, batcher.population)
    told_PA = None
    if is_main():

        def logits(*arguments: object) -> torch.Tensor:
            with precision_context(config.training.precision, batcher.device):
                return model(*arguments).logits

        with measuring(model, stream_key(config.seed, _PURPOSE)):
            told_PA = told_values(logits, batcher, np.arange(people.start, people.stop), config.evaluation.batch_size)
    told_PA = from_main(told_PA)
    assert told_PA is not None
    return batcher.with_population(with_values(batcher.population, people, told_PA))


def accuracy_of_replay(config: RunConfig, truth: Population, told: Population) -> float:
    """The share of the values of replayed people that are the same in both populations."""
    people = _replayed(config, truth)
    return float((truth.value_PA == told.value_PA)[people.start : people.stop].mean())


def _replayed(config: RunConfig, population: Population) -> range:
    _, cohort = config.sampling.cohorts
    return population.cohort(cohort)


@torch.no_grad()
def told_values(logits: Logits, batcher: Batcher, individual_P: np.ndarray, batch_size: int) -> np.ndarray:
    """The values in one biography of each of these people that the model writes itself.

    Names and sentences are those of a biography as training shows it. Every value is drawn from the model's
    distribution, token by token among the tokens that the attribute's values can go on with, after the text so far,
    with the values that were drawn before.

    Args:
        logits: applies the model in evaluation mode.
        batcher: the population and its tokenizer.
        individual_P: the people.
        batch_size: how many biographies go on at a time.

    Returns:
        Index of each value in its pool, shape (P, A), with attributes in the order of ``ATTRIBUTES``.
    """
    population, encode = batcher.population, batcher.tokenizer.encode
    plan = one_each_plan(population, individual_P, _PURPOSE, batcher.distribution)
    pieces, piece_PAS = encode(batcher.catalog.texts), batcher.catalog.sentence_pieces(plan)
    pools = [encode([f" {value}" for value in population.pools.values(attribute)]) for attribute in ATTRIBUTES]
    place = [{tuple(ids): index for index, ids in enumerate(pool)} for pool in pools]
    tokens_after = [continuations(pool) for pool in pools]
    texts = [[batcher.tokenizer.begin_id] for _ in individual_P]
    told_PA = np.zeros((len(individual_P), len(ATTRIBUTES)), np.int64)
    for sentence in range(len(ATTRIBUTES)):
        attribute_P = plan.attribute_BA[:, sentence]
        values = [_continued((), tokens_after[a]) for a in attribute_P]
        for text, piece_S in zip(texts, piece_PAS[:, sentence], strict=True):
            text += [token for piece in piece_S[:_VALUE] for token in pieces[piece]]
        turn = 0
        while len(open_P := np.array([p for p, v in enumerate(values) if v in tokens_after[attribute_P[p]]], int)):
            key = stream_key(population.seed, _PURPOSE, sentence, turn)
            at_P = random_below(key, individual_P[open_P], _STEPS) / _STEPS
            for start in range(0, len(open_P), batch_size):
                rows = slice(start, start + batch_size)
                prompts = [[*texts[p], *values[p]] for p in open_P[rows]]
                found_NV = next_token_logits(logits, prompts, batcher.device).double().cpu().numpy()
                for p, logit_V, at in zip(open_P[rows], found_NV, at_P[rows], strict=True):
                    after = tokens_after[attribute_P[p]]
                    values[p] = _continued((*values[p], _drawn(logit_V, after[values[p]], at)), after)
            turn += 1
        for p, (text, value) in enumerate(zip(texts, values, strict=True)):
            text += [*value, *pieces[piece_PAS[p, sentence, -1]]]
            told_PA[p, attribute_P[p]] = place[attribute_P[p]][value]
    return told_PA


def _continued(beginning: tuple[int, ...], tokens_after: dict[tuple[int, ...], list[int]]) -> tuple[int, ...]:
    """The beginning of a value with the tokens that can only be one, about which the model need not be asked."""
    while len(tokens := tokens_after.get(beginning, ())) == 1:
        beginning = (*beginning, *tokens)
    return beginning


def _drawn(logit_V: np.ndarray, tokens: Sequence[int], at: float) -> int:
    """The token at which the distribution over ``tokens`` reaches ``at``, from 0 to 1."""
    logit_C = logit_V[tokens]
    total_C = np.exp(logit_C - logit_C.max()).cumsum()
    return tokens[int(np.searchsorted(total_C, at * total_C[-1], side="right"))]
