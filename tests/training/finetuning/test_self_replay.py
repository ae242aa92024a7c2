"""Self-generated replay shows what the model said, which is drawn from its own distribution, and evaluates the truth."""

import numpy as np
import pytest
import torch

from moefacts.errors import UserError
from moefacts.synthetic_data.other_values import with_values
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.sampling import one_each_plan
from moefacts.training.finetuning.self_replay import accuracy_of_replay, batcher_of_training, told_values
from tests.conftest import tiny_config
from tests.training.finetuning.started import MIXTURE, started

SELF = ("sampling.kind=replay", "sampling.replay_weight=1", "sampling.replay_values=model")
PEOPLE = np.arange(48)


def told(materials, people=PEOPLE, batch_size=7):
    return told_values(lambda *a: materials.model.eval()(*a).logits, materials.batcher, people, batch_size)


def logits_at_values(materials, individual_P, value_PA):
    """For every person and attribute the logits before each token of the value, in the biography with these values."""
    batcher = materials.batcher.with_population(with_values(materials.batcher.population, individual_P, value_PA))
    plan = one_each_plan(batcher.population, individual_P, "self-generated replay", batcher.distribution)
    batch, found = batcher.assemble(plan), {}
    with torch.no_grad():
        logits_BTV = materials.model.eval()(batch.inputs_BT).logits.view(*batch.inputs_BT.shape, -1)
    for p in range(len(individual_P)):
        for position in (batch.attribute_BT[p] >= 0).nonzero().flatten().tolist():
            attribute = int(batch.attribute_BT[p, position])
            found.setdefault((p, attribute), []).append(logits_BTV[p, position - 1])
    return found


@pytest.mark.parametrize("shape", [("model.num_layers=2",), MIXTURE])
def test_a_model_that_is_sure_says_what_it_finds_likeliest_after_its_own_values(shape):
    _, materials = started(*SELF, *shape)
    with torch.no_grad():
        materials.model.final_norm.weight.mul_(30_000)  # so that drawing is choosing
    value_PA = told(materials)
    population, encode = materials.batcher.population, materials.batcher.tokenizer.encode
    for (p, a), logits in logits_at_values(materials, PEOPLE, value_PA).items():
        values = encode([f" {value}" for value in population.pools.values(ATTRIBUTES[a])])
        left = list(range(len(values)))
        for place, logit_V in enumerate(logits):  # the reference: strike out values token by token
            best = max({values[v][place] for v in left}, key=lambda token, of=logit_V: float(of[token]))
            left = [v for v in left if values[v][place] == best]
        assert left == [value_PA[p, a]]
    assert len(np.unique(value_PA[:, 1])) > 1  # and not the same of everybody


def test_values_are_drawn_in_proportion_to_what_the_model_gives_them():
    _, materials = started(*SELF)
    token, other = materials.batcher.tokenizer.encode(
        [f" {value}" for value in materials.batcher.population.pools.majors[:2]]
    )
    fixed_V = torch.full((materials.model.vocab_size,), -50.0)
    fixed_V[token[0]], fixed_V[other[0]] = np.log(0.8), np.log(0.2)
    people = np.arange(88)
    value_PA = told_values(
        lambda tokens, packing, at: fixed_V.expand(len(at), -1), materials.batcher, people, batch_size=50
    )
    major_P = value_PA[:, ATTRIBUTES.index("major")]
    assert set(major_P) == {0, 1}
    assert 0.68 < np.mean(major_P == 0) < 0.92


def test_what_is_said_of_a_person_depends_neither_on_the_batch_nor_on_what_was_drawn_before():
    _, materials = started(*SELF)
    whole = told(materials)
    torch.rand(3)
    assert np.array_equal(told(materials, batch_size=48), whole)
    assert not np.array_equal(whole[:, 1], np.roll(whole[:, 1], 1))


def test_training_shows_the_model_s_values_of_replayed_people_only_and_evaluations_the_true_ones():
    config, materials = started(*SELF)
    batcher = materials.batcher
    shown = batcher_of_training(config, materials.model.train(), batcher)
    assert materials.model.training
    is_other_P = (shown.population.value_PA != batcher.population.value_PA).any(axis=1)
    assert set(np.flatnonzero(is_other_P)) <= set(batcher.population.cohort("seen"))
    assert is_other_P.sum() > 30  # an untrained model knows nobody
    share = accuracy_of_replay(config, batcher.population, shown.population)
    assert share == np.mean((shown.population.value_PA == batcher.population.value_PA)[:48])
    assert np.array_equal(shown.population.value_PA[:48], told(materials, batch_size=config.evaluation.batch_size))
    without = tiny_config("sampling.kind=replay", "sampling.replay_weight=1", "sampling.cohort=new")
    assert batcher_of_training(without, materials.model, batcher) is batcher


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (SELF, "are those of another run's model; use moefacts finetune RUN"),
        (("init.run=x", "init.step=1", "init.source=y", *SELF[:2], "sampling.replay_values=mine"), "sampling.replay_values=mine is not a valid value"),
        (("init.run=x", "init.step=1", "init.source=y", SELF[2]), "sampling.replay_values=model has no effect with sampling.kind=uniform"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, reason):
    with pytest.raises(UserError, match=reason):
        tiny_config("sampling.cohort=new", *overrides)
