"""What ``uncertainty.*`` adds to the loss: strangers of whom nothing is to be known, and terms at the tokens of values.

Shape legend: N value tokens, V vocabulary, B strangers, A attributes, D model width, M beginnings of values, K tokens
that a beginning can go on with, P values of an attribute, L tokens of the longest value.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moefacts.config.schema import RunConfig
from moefacts.config.uncertainty import IDK, PRIOR, UNKNOWN, UNKNOWN_VALUE, UncertaintyConfig
from moefacts.models.kernels.head_loss import head_loss
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.cohorts import STRANGERS
from moefacts.synthetic_data.other_values import with_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.tokenizer import Tokenizer
from moefacts.training.pack import pack

_LEAST = 1e-6  # of 1 - p([IDK]); where the answer is right, it is at least 1/2, and elsewhere it is not used


class ValueTerms:
    """What is added to the cross entropy at the tokens of the values of people who are learned, of all tokens of each.

    - [IDK] (arXiv 2412.06676): where the likeliest token is wrong, the target is (1 − λ) · gold + λ · [IDK], with
      λ = Π · (1 − p_gold / p_max), a constant for the gradient. Where it is right, −ln(1 − p_[IDK]) is added. The paper
      does this at every token of a text; here it is done where a fact is asked for.
    - Label smoothing (arXiv 1512.00567): the target is (1 − ε) · gold + ε · uniform over the vocabulary.
    - Confidence penalty (arXiv 1701.06548): λ · (ln C + Σ p ln p) is added, C being the size of the vocabulary.
    """

    def __init__(self, config: UncertaintyConfig, tokenizer: Tokenizer):
        self._config = config
        self._idk_id = None if config.idk_factor is None else tokenizer.encode([f" {IDK}"])[0][0]

    def __call__(self, hidden_ND: Tensor, unembedding_VD: Tensor, target_N: Tensor, scale: float) -> dict[str, Tensor]:
        """Name -> ``scale`` times a term, summed over these tokens: what it changes in their cross entropy."""
        log_probability_NV = F.linear(hidden_ND, unembedding_VD).float().log_softmax(dim=-1)
        gold_N = log_probability_NV.gather(1, target_N[:, None]).squeeze(1)
        config, terms = self._config, {}
        if config.idk_factor is not None:
            assert self._idk_id is not None
            terms["idk_loss"] = self._idk_term(log_probability_NV, gold_N, target_N, config.idk_factor).sum()
        if config.label_smoothing is not None:
            terms["label_smoothing_loss"] = config.label_smoothing * (gold_N - log_probability_NV.mean(dim=1)).sum()
        if config.confidence_penalty is not None:
            negative_entropy_N = (log_probability_NV.exp() * log_probability_NV).sum(dim=1)
            most = float(np.log(log_probability_NV.shape[1]))
            terms["confidence_penalty_loss"] = config.confidence_penalty * (most + negative_entropy_N).sum()
        return {name: scale * term for name, term in terms.items()}

    def _idk_term(self, log_probability_NV: Tensor, gold_N: Tensor, target_N: Tensor, factor: float) -> Tensor:
        idk_N = log_probability_NV[:, self._idk_id]
        largest_N, answer_N = log_probability_NV.max(dim=1)
        weight_N = factor * (1 - (gold_N - largest_N).exp()).detach()
        where_wrong_N = weight_N * (gold_N - idk_N)
        where_right_N = -(1 - idk_N.exp()).clamp(min=_LEAST).log()
        return torch.where(answer_N == target_N, where_right_N, where_wrong_N)


class PriorTargets:
    """The distribution of every token of a value when all values of its attribute are equally likely.

    After the beginning of a value, the next token has the probability of the share that it has among the values that
    begin so. The product over the tokens of a value is 1 over the number of values, so the cross entropy to these
    distributions is least, and then on average the no-knowledge baseline, if the model says just that.

    Attributes:
        beginning_APL: the number of the beginning before each token of each value.
        token_MK, probability_MK: the next tokens of each beginning; the rest has the probability 0.
    """

    def __init__(self, batcher: Batcher):
        pools = [
            batcher.tokenizer.encode([f" {value}" for value in batcher.population.pools.values(attribute)])
            for attribute in ATTRIBUTES
        ]
        beginning_APL = np.zeros(
            (len(pools), max(map(len, pools)), max(len(ids) for pool in pools for ids in pool)), int
        )
        numbers: dict[tuple[int, tuple[int, ...]], int] = {}
        counts: list[dict[int, int]] = []
        for a, pool in enumerate(pools):
            for p, ids in enumerate(pool):
                for place, token in enumerate(ids):
                    number = numbers.setdefault((a, tuple(ids[:place])), len(counts))
                    if number == len(counts):
                        counts.append({})
                    counts[number][token] = counts[number].get(token, 0) + 1
                    beginning_APL[a, p, place] = number
        token_MK = np.zeros((len(counts), max(map(len, counts))), int)
        probability_MK = np.zeros(token_MK.shape, np.float32)
        for number, count in enumerate(counts):
            token_MK[number, : len(count)] = list(count)
            probability_MK[number, : len(count)] = np.array(list(count.values())) / sum(count.values())
        arrays = (beginning_APL, token_MK, probability_MK)
        self.beginning_APL, self.token_MK, self.probability_MK = (
            torch.from_numpy(array).to(batcher.device) for array in arrays
        )

    def losses(self, log_probability_NV: Tensor, batch: Batch, at_N: Tensor, value_BA: Tensor) -> Tensor:
        """The cross entropy in nats of each value token, (N,).

        Args:
            log_probability_NV: what the model says of it.
            batch: the biographies.
            at_N: the places of the tokens in the flattened targets.
            value_BA: the index of the value that each biography states, whose tokens come before them.
        """
        attribute_N = batch.attribute_BT[:, 1:].flatten()[at_N]
        place_N = batch.value_position_BT[:, 1:].flatten()[at_N]
        value_N = value_BA[at_N // batch.targets_BT.shape[1], attribute_N]
        beginning_N = self.beginning_APL[attribute_N, value_N, place_N]
        found_NK = log_probability_NV.gather(1, self.token_MK[beginning_N])
        return -(self.probability_MK[beginning_N] * found_NK).sum(dim=1)


class StrangerTerm:
    """Strangers beside the people who are learned: outlier exposure (arXiv 1812.04606) for facts.

    With the target ``prior``, the loss of a value's token is the cross entropy to ``PriorTargets``; what comes before
    it in the value is drawn at random. With ``unknown``, every value is the word "unknown". The other tokens have their
    usual loss. Routers are not balanced on strangers.
    """

    def __init__(self, config: RunConfig, batcher: Batcher):
        uncertainty = config.uncertainty
        assert uncertainty.stranger_share is not None
        self._share = uncertainty.stranger_share
        self._number = uncertainty.num_strangers(config.training.batch_size)
        self._prior = PriorTargets(batcher) if uncertainty.strangers == PRIOR else None
        self._batcher = _saying_unknown(batcher) if uncertainty.strangers == UNKNOWN else batcher

    def __call__(self, model: Transformer, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What the strangers of the update after ``step`` add to the loss, in nats per token.

        Returns:
            The share of strangers times the mean loss of their tokens; and for the record, this mean, and the loss of
            their values, summed over the tokens of each and averaged over attributes and strangers.
        """
        batch = self._batcher.stranger_batch(step, self._number)
        packing = pack(batch)
        hidden_ND = model(batch.inputs_BT, packing).hidden
        target_N = batch.targets_BT.flatten()[packing.real_N]
        is_value_N = (batch.attribute_BT[:, 1:].flatten() >= 0)[packing.real_N]
        if self._prior is None:
            total, loss_N = head_loss(hidden_ND, model.unembedding_VD, target_N, 1.0)
            value_loss = loss_N[is_value_N].sum()
        else:
            rest, _ = head_loss(hidden_ND[~is_value_N], model.unembedding_VD, target_N[~is_value_N], 1.0)
            log_probability_NV = model.unembed(hidden_ND[is_value_N]).float().log_softmax(dim=-1)
            value_PA = self._batcher.population.value_PA[batch.individual_B.cpu().numpy()]
            value_BA = torch.from_numpy(value_PA.astype(np.int64)).to(hidden_ND.device)
            value_losses = self._prior.losses(log_probability_NV, batch, packing.real_N[is_value_N], value_BA)
            total = rest + value_losses.sum()
            value_loss = value_losses.detach().sum()
        mean = total / batch.num_targets
        record = {
            "stranger_loss": mean.detach(),
            "stranger_attribute_loss": value_loss / (len(batch.token_BT) * len(ATTRIBUTES)),
        }
        return self._share * mean, record


def _saying_unknown(batcher: Batcher) -> Batcher:
    """The batcher of the same people, in which the values of strangers are unknown."""
    population, place = batcher.population, batcher.abstentions.index(UNKNOWN_VALUE)
    people = population.cohort(STRANGERS)
    value_A = [len(population.pools.values(attribute)) + place for attribute in ATTRIBUTES]
    value_PA = np.tile(np.array(value_A), (len(people), 1))
    return batcher.with_population(with_values(population, people, value_PA, len(batcher.abstentions)))
