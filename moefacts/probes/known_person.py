"""Does the model tell, at the end of a name, whether it knows the person? (cf. arXiv 2411.14257)

The first sentences of biographies of people who were trained on and of people who never were, up to the value. For
every layer, a linear probe of the hidden state at the last token of the name is trained on half of the people and
tested on the other half. And the direction between the means of both is added there to the state of people who were
never seen: does the model become surer of its answers about them?

Shape legend: P people, one sentence each, S states (the embedding, then the state after every layer), D model width,
F features, T positions, N value tokens.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from moefacts.models.packing import Packing
from moefacts.models.transformer import HIDDEN_STATES, Transformer
from moefacts.probes.attention_signatures import places_of
from moefacts.probes.mechanism.interventions import state_changed
from moefacts.probes.shift import one_biography_each
from moefacts.runs.tables import KNOWN_PERSON
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.biography import Role
from moefacts.synthetic_data.cohorts import UNSEEN
from moefacts.synthetic_data.population import Population
from moefacts.training.pack import pack

NUM_PEOPLE = 512  # of either kind
_NUM_DRAWS = 4
_OFF = {"token_BT": 0, "role_BT": int(Role.PADDING), "attribute_BT": -1, "value_position_BT": -1}  # after the sentence


@dataclass(frozen=True)
class Sentences:
    """The first sentences of some biographies.

    Attributes:
        batch: the sentences.
        packing: theirs.
        name_P: the places of the last tokens of the names, in the flattened inputs.
        value_N: the places of the tokens before those of values.
    """

    batch: Batch
    packing: Packing
    name_P: Tensor
    value_N: Tensor


def first_sentences(batch: Batch) -> Sentences:
    """The first sentence of every biography."""
    end_P = (batch.role_BT == Role.FULL_STOP).long().argmax(dim=1)
    width = int(end_P.max()) + 1
    inside_PT = torch.arange(width, device=end_P.device) <= end_P[:, None]
    tensors = {
        field.name: torch.where(inside_PT, getattr(batch, field.name)[:, :width], _OFF[field.name])
        for field in fields(Batch)
        if field.name in _OFF
    }
    cut = Batch(**tensors, individual_B=batch.individual_B, length_B=end_P.cpu().numpy() + 1)
    row_P = torch.arange(len(end_P), device=end_P.device)
    name_P = row_P * cut.inputs_BT.shape[1] + places_of(cut)["name"][:, 0]
    return Sentences(cut, pack(cut), name_P, (cut.attribute_BT[:, 1:] >= 0).flatten().nonzero().squeeze(1))


@torch.no_grad()
def states(model: Transformer, sentences: Sequence[Sentences]) -> np.ndarray:
    """The hidden states at the ends of the names, shape (S, P, D), float64."""
    found = [
        model(one.batch.inputs_BT, one.packing, one.name_P, keep={HIDDEN_STATES}).hidden_states for one in sentences
    ]
    return np.stack([torch.cat(layer).double().cpu().numpy() for layer in zip(*found, strict=True)])


@torch.no_grad()
def confidences(
    model: Transformer, sentences: Sequence[Sentences], state: int = 0, shift_D: Tensor | None = None
) -> np.ndarray:
    """The confidence in every sentence's value (``ValueMeasures.value_confidence``), shape (P,).

    Args:
        model: the model.
        sentences: the sentences.
        state: the hidden state that changes.
        shift_D: what is added to it at the end of the name.
    """
    found = []
    for one in sentences:
        rows = one.packing.find(one.name_P)
        with _shifted(model, state, rows, shift_D):
            logits_NV = model(one.batch.inputs_BT, one.packing, one.value_N).logits
        largest_N = logits_NV.float().log_softmax(dim=-1).max(dim=-1).values
        total_P = torch.zeros(len(one.name_P), device=largest_N.device)
        found.append(total_P.index_add_(0, one.value_N // one.batch.inputs_BT.shape[1], largest_N).exp())
    return torch.cat(found).double().cpu().numpy()


def _shifted(model: Transformer, state: int, row_P: Tensor, shift_D: Tensor | None) -> AbstractContextManager[None]:
    """A context in which ``shift_D`` is added to these rows of a hidden state; that after the last layer cannot be."""
    if shift_D is None:
        return nullcontext()
    return state_changed(model, state, lambda x: x.index_add(0, row_P, shift_D.to(x.dtype).expand(len(row_P), -1)))


@dataclass(frozen=True)
class People:
    """Sentences about people who were seen and about as many who were not, in two halves: to train on, and to test.

    Attributes:
        seen, unseen: the halves of either.
    """

    seen: tuple[Sentences, Sentences]
    unseen: tuple[Sentences, Sentences]

    def individuals(self, half: int) -> np.ndarray:
        """Whom a half is about, the seen first."""
        return np.concatenate([one[half].batch.individual_B.cpu().numpy() for one in (self.seen, self.unseen)])


def people_of(batcher: Batcher) -> People:
    """The people of the probe, drawn at random; the halves have different people."""
    cohorts = (batcher.cohort, UNSEEN)
    number = min(NUM_PEOPLE, *(len(batcher.population.cohort(cohort)) for cohort in cohorts)) // 2 * 2

    def halves(cohort: str) -> tuple[Sentences, Sentences]:
        plan = one_biography_each(batcher, cohort, number).plan
        first, second = plan.rows(slice(0, number // 2)), plan.rows(slice(number // 2, None))
        return first_sentences(batcher.assemble(first)), first_sentences(batcher.assemble(second))

    return People(halves(batcher.cohort), halves(UNSEEN))


def name_counts(population: Population, trained_on: np.ndarray, individual_P: np.ndarray) -> np.ndarray:
    """The logarithms of 1 + how many people of training have each part of a name, shape (P, 3)."""
    counts = []
    for part in range(3):
        name_P = population.name_P3[:, part]
        total = np.bincount(name_P[trained_on], minlength=int(name_P.max()) + 1)
        counts.append(np.log1p(total[name_P[individual_P]]))
    return np.stack(counts, axis=1)


def logistic_auroc(train_PF: np.ndarray, test_PF: np.ndarray, label_P: np.ndarray, trained_as_P: np.ndarray) -> float:
    """The AUROC on test people of a logistic regression on standardised features.

    Args:
        train_PF: features of people to train on.
        test_PF: those of as many others.
        label_P: which of the test people were seen.
        trained_as_P: the labels of the people to train on.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_PF, trained_as_P)
    return float(roc_auc_score(label_P, probe.decision_function(test_PF)))


def known_person_table(model: Transformer, batcher: Batcher) -> pd.DataFrame:
    """One row per hidden state, as in ``runs.tables.KNOWN_PERSON``.

    ``auroc_logistic`` and ``auroc_means`` are those of a logistic regression and of the projection on the difference
    of means. Controls: ``auroc_permuted`` is that of a logistic regression after the labels have been permuted over the
    people of each half (a mean over 4 permutations), and ``auroc_names`` that of one that sees only how common the
    parts of the name are in training. Confidences are in the
    value of the sentence: of the test people never seen, as they are, with the difference of means added at the end of
    the name, and with a random direction of its length added (a mean over 4); and of the seen, as they are, and with
    the difference subtracted. After the last layer nothing can be changed any more, because no other position reads it.
    """
    from sklearn.metrics import roc_auc_score

    model.eval()
    people, population = people_of(batcher), batcher.population
    number = len(people.seen[0].name_P)
    label_P = np.repeat([1, 0], number)
    random = np.random.default_rng(population.seed)
    permuted = [(random.permutation(label_P), random.permutation(label_P)) for _ in range(_NUM_DRAWS)]
    trained_on = np.concatenate([np.array(population.cohort(cohort)) for cohort in batcher.cohorts])
    train_P3, test_P3 = (name_counts(population, trained_on, people.individuals(half)) for half in (0, 1))
    auroc_names = logistic_auroc(train_P3, test_P3, label_P, label_P)
    train_SPD, test_SPD = (states(model, [people.seen[half], people.unseen[half]]) for half in (0, 1))
    seen, unseen = people.seen[1:], people.unseen[1:]
    rows: list[dict[str, float]] = []
    for state, (train_PD, test_PD) in enumerate(zip(train_SPD, test_SPD, strict=True)):
        difference_D = train_PD[:number].mean(axis=0) - train_PD[number:].mean(axis=0)
        drawn_D = random.standard_normal((_NUM_DRAWS, len(difference_D)))
        drawn_D *= np.linalg.norm(difference_D) / np.linalg.norm(drawn_D, axis=1, keepdims=True)
        moves = state < len(train_SPD) - 1

        def confidence(
            of: Sequence[Sentences], shift_D: np.ndarray | None, at: int = state, moves: bool = moves
        ) -> float:
            shift = torch.from_numpy(shift_D).to(batcher.device) if shift_D is not None and moves else None
            return float(confidences(model, of, at, shift).mean())

        rows.append(
            {
                "layer": state,
                "people": number,
                "auroc_logistic": logistic_auroc(train_PD, test_PD, label_P, label_P),
                "auroc_means": float(roc_auc_score(label_P, test_PD @ difference_D)),
                "auroc_permuted": float(np.mean([logistic_auroc(train_PD, test_PD, *labels) for labels in permuted])),
                "auroc_names": auroc_names,
                "confidence_unseen": confidence(unseen, None),
                "confidence_unseen_added": confidence(unseen, difference_D),
                "confidence_unseen_random": float(np.mean([confidence(unseen, one_D) for one_D in drawn_D])),
                "confidence_seen": confidence(seen, None),
                "confidence_seen_subtracted": confidence(seen, -difference_D),
            }
        )
    return pd.DataFrame(rows, columns=list(KNOWN_PERSON.columns))
