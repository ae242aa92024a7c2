"""One temperature per attribute, fitted after training on some people and tested on others (arXiv 1706.04599).

Shape legend: P people, N value tokens, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from moefacts.models.transformer import Transformer
from moefacts.probes.shift import one_biography_each
from moefacts.runs.tables import TEMPERATURE
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.cohorts import UNSEEN
from moefacts.synthetic_data.pools import ATTRIBUTES

NUM_PEOPLE = 256  # of either kind
_LIMITS = (0.05, 20.0)


@dataclass(frozen=True)
class ValueLogits:
    """The logits of the tokens of one attribute's values, one value per person.

    Attributes:
        logits_NV: the logits, after the true tokens before each.
        target_N: the true tokens.
        person_N: whose value it is, from 0.
    """

    logits_NV: Tensor
    target_N: Tensor
    person_N: Tensor

    @property
    def num_people(self) -> int:
        """The number of values."""
        return len(self.person_N.unique())

    def of(self, wanted: Tensor) -> "ValueLogits":
        """The tokens that ``wanted`` selects."""
        return ValueLogits(self.logits_NV[wanted], self.target_N[wanted], self.person_N[wanted])

    def loss(self, temperature: float = 1.0) -> float:
        """The cross entropy in nats of the logits over ``temperature``, summed over the tokens of a value."""
        scaled_NV = self.logits_NV / temperature
        return float(torch.nn.functional.cross_entropy(scaled_NV, self.target_N, reduction="sum")) / self.num_people

    def confidence(self, temperature: float = 1.0) -> float:
        """The product of the largest probabilities of the tokens of a value, the mean over people."""
        largest_N = (self.logits_NV / temperature).log_softmax(dim=1).max(dim=1).values
        return float(self._by_person(largest_N).exp().mean())

    def accuracy(self) -> float:
        """The share of people of whose value every token is the likeliest; a temperature does not change it."""
        is_wrong_N = (self.logits_NV.argmax(dim=1) != self.target_N).float()
        return float((self._by_person(is_wrong_N) == 0).float().mean())

    def _by_person(self, amount_N: Tensor) -> Tensor:
        people, place_N = self.person_N.unique(return_inverse=True)
        return torch.zeros(len(people)).index_add_(0, place_N, amount_N)


def fitted_temperature(values: ValueLogits) -> float:
    """The temperature from 1/20 to 20 with the least loss."""
    low, high = np.log(_LIMITS)
    return float(np.exp(minimize_scalar(lambda t: values.loss(float(np.exp(t))), bounds=(low, high)).x))


@torch.no_grad()
def _value_logits(model: Transformer, batcher: Batcher, cohort: str, number: int) -> list[ValueLogits]:
    """The logits of every attribute, for one biography of each of ``number`` people of a cohort."""
    evaluator = one_biography_each(batcher, cohort, number)
    columns = []
    for rows, batch, at_N, packing in evaluator.batches:
        logits_NV = model(batch.inputs_BT, packing, at_N).logits.float().cpu()
        row_N = torch.from_numpy(rows)[(at_N // batch.targets_BT.shape[1]).cpu()]
        target_N, attribute_N = (column[:, 1:].flatten()[at_N].cpu() for column in (batch.token_BT, batch.attribute_BT))
        columns.append((logits_NV, target_N, row_N, attribute_N))
    logits_NV, target_N, row_N, attribute_N = (torch.cat(parts) for parts in zip(*columns, strict=True))
    everything = ValueLogits(logits_NV, target_N, row_N)
    return [everything.of(attribute_N == a) for a in range(len(ATTRIBUTES))]


def temperature_table(model: Transformer, batcher: Batcher) -> pd.DataFrame:
    """One row per attribute, cohort fitted on and cohort tested, as in ``runs.tables.TEMPERATURE``.

    A temperature is fitted on half of the people of a cohort: those trained on, those never seen, or as many of both.
    It is tested on the others of those trained on and of those never seen: the loss and the confidence in whole values
    before and after (``loss``, ``confidence`` are those at temperature 1).
    """
    model.eval()
    cohorts = (batcher.cohort, UNSEEN)
    number = min(NUM_PEOPLE, *(len(batcher.population.cohort(cohort)) for cohort in cohorts))
    logits = {cohort: _value_logits(model, batcher, cohort, number) for cohort in cohorts}
    rows = []
    for a, attribute in enumerate(ATTRIBUTES):
        fit, test = ({c: logits[c][a].of(logits[c][a].person_N % 2 == half) for c in cohorts} for half in (0, 1))
        pair = [fit[cohort] for cohort in cohorts]
        both = ValueLogits(
            torch.cat([one.logits_NV for one in pair]),
            torch.cat([one.target_N for one in pair]),
            torch.cat([one.person_N + number * place for place, one in enumerate(pair)]),
        )
        for fitted_on, values in ({**fit, f"{batcher.cohort} and {UNSEEN}": both}).items():
            temperature = fitted_temperature(values)
            for tested, others in test.items():
                rows.append(
                    {
                        "attribute": attribute,
                        "fitted_on": fitted_on,
                        "tested": tested,
                        "people": others.num_people,
                        "temperature": temperature,
                        "loss": others.loss(),
                        "loss_scaled": others.loss(temperature),
                        "confidence": others.confidence(),
                        "confidence_scaled": others.confidence(temperature),
                        "accuracy": others.accuracy(),
                    }
                )
    return pd.DataFrame(rows, columns=list(TEMPERATURE.columns))
