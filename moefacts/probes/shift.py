"""What fine-tuning does to the logits of old people's values: a part that all of them share, and a part of each fact.

For an attribute a and the old people i, z_i(t) − z_i(0) = c_a(t) + v_i(t), where z are the logits of the first token
of a value, t is the step and c_a the mean over people (Palit et al. 2026). The mean over some people is subtracted from
others, two halves of the people in turn, so that no person's own shift is part of the mean.

Shape legend: B biographies, one per person, C candidates (``first_tokens``).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from moefacts.models.transformer import Transformer
from moefacts.probes.first_tokens import candidates_of, first_token_logits
from moefacts.runs.tables import SHIFT
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training.checkpoint import load_weights
from moefacts.training.evaluation import Evaluator

NUM_PEOPLE = 512
_BATCH_SIZE = 128
_NUM_DRAWS = 8


def one_biography_each(batcher: Batcher, cohort: str, most: int = NUM_PEOPLE) -> Evaluator:
    """One biography in held-out templates of each of the cohort's people, or of ``most`` of them, drawn at random."""
    return Evaluator(batcher, cohort, min(most, len(batcher.population.cohort(cohort))), _BATCH_SIZE)


def common_part(shift_BC: np.ndarray, num_others: int | None = None) -> np.ndarray:
    """For every row, the mean shift of those that are an odd number of rows away, (B, C); B is at least 2.

    For ``num_others`` other people, it is the mean of all rows.
    """
    if num_others is not None:
        return np.tile(shift_BC.mean(axis=0), (num_others, 1))
    even_C, odd_C = shift_BC[::2].mean(axis=0), shift_BC[1::2].mean(axis=0)
    return np.where((np.arange(len(shift_BC)) % 2 == 0)[:, None], odd_C, even_C)


def decomposition(
    before_BC: np.ndarray,
    after_BC: np.ndarray,
    common_BC: np.ndarray,
    right_B: np.ndarray,
    own_half_BC: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """The columns of ``runs.tables.SHIFT`` that depend on logits.

    Args:
        before_BC: centred logits at step 0.
        after_BC: centred logits at the step in question.
        common_BC: the common part of the shift, estimated on others.
        right_B: the candidate that each true value begins with.
        own_half_BC: which candidates a value of the half of the true one begins with; None without halves.
        seed: of the random shifts.

    Returns:
        ``shift``, the root mean square over people of ‖z_i(t) − z_i(0)‖; ``specific_share`` = Σ‖z_i(t) − z_i(0) −
        c‖² / Σ‖z_i(t) − z_i(0)‖², which exceeds 1 where the mean of others says nothing, and ``common_share``, 1 minus
        that (neither without a shift); accuracies, which are the shares of people whose right candidate is the largest:
        ``accuracy_before`` of z_i(0), ``accuracy`` of z_i(t), ``accuracy_common_only`` of z_i(0) + c,
        ``accuracy_common_removed`` of z_i(t) − c, and as a control ``accuracy_random_shift`` of z_i(0) + r, with r in a
        random direction and as long as c, averaged over 8 draws. ``own_half_before`` and ``own_half`` are those of
        z_i(0) and z_i(t) among the candidates of the own half.
    """

    def accuracy(logits_BC: np.ndarray) -> float:
        is_right_B = np.equal(logits_BC.argmax(axis=1), right_B)
        return float(is_right_B.mean())

    shift_BC, random = after_BC - before_BC, np.random.default_rng(seed)
    total, specific = float(np.square(shift_BC).sum()), float(np.square(shift_BC - common_BC).sum())
    length_B1 = np.linalg.norm(common_BC, axis=1, keepdims=True)
    drawn = []
    for _ in range(_NUM_DRAWS):
        random_C = random.standard_normal((before_BC.shape[1],))
        random_C -= random_C.mean()
        drawn.append(accuracy(before_BC + length_B1 * random_C / max(np.linalg.norm(random_C), 1e-12)))
    own = {"own_half_before": np.nan, "own_half": np.nan}
    if own_half_BC is not None:
        own = {
            name: accuracy(np.where(own_half_BC, logits_BC, -np.inf))
            for name, logits_BC in zip(own, (before_BC, after_BC), strict=True)
        }
    return {
        "shift": float(np.sqrt(total / len(shift_BC))),
        "common_share": 1 - specific / total if total else np.nan,
        "specific_share": specific / total if total else np.nan,
        "accuracy_before": accuracy(before_BC),
        "accuracy": accuracy(after_BC),
        "accuracy_common_only": accuracy(before_BC + common_BC),
        "accuracy_common_removed": accuracy(after_BC - common_BC),
        "accuracy_random_shift": float(np.mean(drawn)),
        **own,
    }


def shift_table(
    run: Path, model: Transformer, batcher: Batcher, old: Sequence[str], steps: Sequence[int], has_halves: bool
) -> pd.DataFrame:
    """The decomposition for every step, old cohort and attribute, as in ``runs.tables.SHIFT``.

    The common part of an old cohort is also tested on the people who are learned: what its removal costs them.
    Afterwards ``model`` holds the weights of the last of ``steps``.

    Args:
        run: the directory of the fine-tuned run.
        model: its model.
        batcher: its population and distribution.
        old: cohorts of at least two people whom the weights had seen before.
        steps: the checkpoints, ascending, without step 0.
        has_halves: whether the facts of some cohort are drawn from one half of the values.
    """
    candidates, population = candidates_of(batcher), batcher.population
    evaluators = {cohort: one_biography_each(batcher, cohort) for cohort in (*old, batcher.cohort)}

    def logits_at(step: int) -> dict[str, list[np.ndarray]]:
        load_weights(run, step, model)
        return {cohort: first_token_logits(model, evaluator, candidates) for cohort, evaluator in evaluators.items()}

    before, rows = logits_at(0), []
    for step in steps:
        after = logits_at(step)
        for cohort, tested in [(name, tested) for name in old for tested in (name, batcher.cohort)]:
            for a, (attribute, one) in enumerate(zip(ATTRIBUTES, candidates, strict=True)):
                value_B = population.value_PA[evaluators[tested].plan.individual_B, a]
                shift_BC = after[cohort][a] - before[cohort][a]
                common_BC = common_part(shift_BC, None if tested == cohort else len(value_B))
                own_half_BC = one.is_in_half_2C[population.half_of_values(attribute)[value_B]] if has_halves else None
                found = decomposition(
                    before[tested][a], after[tested][a], common_BC, one.place_V[value_B], own_half_BC, population.seed
                )
                labels = {"step": step, "cohort": cohort, "tested": tested, "attribute": attribute}
                rows.append(labels | {"people": len(value_B), "halves": 2 if has_halves else 0} | found)
    return pd.DataFrame(rows, columns=list(SHIFT.columns))
