"""What ``uncertainty.*`` adds to the loss has the gradients of its formulas, and changes nothing while it is off."""

import itertools
import math

import numpy as np
import pytest
import torch

from moefacts.config.identity import digest, identity
from moefacts.config.presets import compose, overrides_of
from moefacts.config.uncertainty import UncertaintyConfig
from moefacts.errors import UserError
from moefacts.experiments.tasks.finetuning import finetuning_overrides
from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.runs.reader import read_run
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.training import distributed
from moefacts.training.initial import source_of
from moefacts.training.pack import pack
from moefacts.training.step import TrainingStep
from moefacts.training.uncertainty import PriorTargets, StrangerTerm, ValueTerms
from tests.conftest import TINY, tiny_config
from tests.training.comparing import records, same, weights

STRANGERS = ("population.strangers=24", "uncertainty.stranger_share=0.5")
PRIOR, UNKNOWN = ((*STRANGERS, f"uncertainty.strangers={target}") for target in ("prior", "unknown"))
IDK, SMOOTHING = ("uncertainty.idk_factor=0.4",), ("uncertainty.label_smoothing=0.2",)
PENALTY = ("uncertainty.confidence_penalty=0.3",)
ALL = {"prior": PRIOR, "unknown": UNKNOWN, "idk": IDK, "smoothing": SMOOTHING, "penalty": PENALTY}


class OneIdk:
    """A tokenizer whose token [IDK] is number 2."""

    def encode(self, texts):
        assert texts == [" [IDK]"]
        return [[2]]


def terms_of(logits_NV, target_N, **settings):
    """The terms for these logits, each as a sum, and the gradient of all."""
    hidden_NV = logits_NV.clone().requires_grad_()
    found = ValueTerms(UncertaintyConfig(**settings), OneIdk())(hidden_NV, torch.eye(hidden_NV.shape[1]), target_N, 1.0)
    (gradient_NV,) = torch.autograd.grad(sum(found.values()), hidden_NV)
    return {name: float(term.detach()) for name, term in found.items()}, gradient_NV


def gradient_of(objective, logits_NV):
    """The gradient of a naive formula, row by row."""
    logits_NV = logits_NV.clone().double().requires_grad_()
    sum(objective(row, logits_NV[row].softmax(0)) for row in range(len(logits_NV))).backward()
    return logits_NV.grad.float()


LOGITS = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) * 3
TARGETS = torch.tensor([0, 1, 3, 4] * 3)
IS_RIGHT = LOGITS.argmax(1) == TARGETS


def test_a_wrong_answer_gives_a_part_of_its_target_to_idk_and_a_right_one_takes_it_back():
    assert 0 < int(IS_RIGHT.sum()) < 12
    constant = LOGITS.softmax(1).double()

    def naive(row, p):
        gold = TARGETS[row]
        if constant[row].argmax() == gold:
            return -torch.log(p[gold]) - torch.log(1 - p[2])
        weight = 0.4 * (1 - constant[row, gold] / constant[row].max())
        target = torch.zeros(5, dtype=torch.float64)
        target[gold], target[2] = 1 - weight, weight
        return -(target * p.log()).sum()

    def gold_alone(row, p):
        return -p[TARGETS[row]].log()

    _, gradient = terms_of(LOGITS, TARGETS, idk_factor=0.4)
    expected = gradient_of(naive, LOGITS) - gradient_of(gold_alone, LOGITS)
    assert torch.allclose(gradient, expected, atol=1e-5)


def test_certainty_of_idk_in_a_wrong_answer_has_a_finite_gradient():
    found, gradient = terms_of(torch.tensor([[0.0, 0.0, 200.0, 0.0, 0.0]]), torch.tensor([0]), idk_factor=0.5)
    assert math.isfinite(found["idk_loss"])
    assert gradient.isfinite().all()


def test_label_smoothing_and_the_confidence_penalty_follow_their_formulas():
    def smoothed(row, p):
        target = torch.full((5,), 0.2 / 5, dtype=torch.float64)
        target[TARGETS[row]] += 0.8
        return -(target * p.log()).sum() + p[TARGETS[row]].log()

    def penalty(row, p):
        return 0.3 * (math.log(5) + (p * p.log()).sum())

    assert torch.allclose(terms_of(LOGITS, TARGETS, label_smoothing=0.2)[1], gradient_of(smoothed, LOGITS), atol=1e-5)
    assert torch.allclose(terms_of(LOGITS, TARGETS, confidence_penalty=0.3)[1], gradient_of(penalty, LOGITS), atol=1e-5)
    found, _ = terms_of(torch.zeros(1, 5), torch.tensor([0]), label_smoothing=0.2, confidence_penalty=0.3)
    assert found == pytest.approx({"label_smoothing_loss": 0, "confidence_penalty_loss": 0}, abs=1e-6)


@pytest.fixture(scope="module")
def prior():
    """The materials of a run with strangers who have the target prior, one batch of them, and what the targets are."""
    config = tiny_config(*PRIOR, "population.pools.cities=64")  # some of several words
    materials = prepare(config)
    batch = materials.batcher.stranger_batch(0, 16)
    return config, materials, batch, PriorTargets(materials.batcher)


def value_tokens(batch):
    packing = pack(batch)
    return packing.real_N[(batch.attribute_BT[:, 1:].flatten() >= 0)[packing.real_N]]


def test_the_target_of_strangers_is_the_prior_over_values_token_by_token(prior):
    _, materials, batch, targets = prior
    population, tokenizer = materials.batcher.population, materials.batcher.tokenizer
    log_probability_NV = torch.randn(len(at_N := value_tokens(batch)), tokenizer.vocab_size).log_softmax(1)
    value_BA = torch.from_numpy(population.value_PA[batch.individual_B.numpy()].astype(np.int64))
    found_N = targets.losses(log_probability_NV, batch, at_N, value_BA)
    assert int(batch.value_position_BT.max()) == 2
    for found, log_probability_V, at in zip(found_N, log_probability_NV, at_N.tolist(), strict=True):
        row, column = divmod(at, batch.targets_BT.shape[1])
        a, place = int(batch.attribute_BT[row, column + 1]), int(batch.value_position_BT[row, column + 1])
        said = batch.token_BT[row, column + 1 - place : column + 1].tolist()
        pool = tokenizer.encode([f" {value}" for value in population.pools.values(ATTRIBUTES[a])])
        after = [ids[place] for ids in pool if ids[:place] == said]  # every value that goes on from here, once
        expected = -sum(float(log_probability_V[token]) for token in after) / len(after)
        assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_strangers_is_least_and_is_the_baseline_where_the_model_says_just_the_prior(prior):
    _, materials, batch, targets = prior
    population = materials.batcher.population
    value_BA = torch.from_numpy(population.value_PA[batch.individual_B.numpy()].astype(np.int64))
    at_N = value_tokens(batch)
    row_N, attribute_N = at_N // batch.targets_BT.shape[1], batch.attribute_BT[:, 1:].flatten()[at_N]
    place_N = batch.value_position_BT[:, 1:].flatten()[at_N]
    beginning_N = targets.beginning_APL[attribute_N, value_BA[row_N, attribute_N], place_N]
    logits_NV = torch.full((len(at_N), materials.batcher.tokenizer.vocab_size), -60.0)
    logits_NV.scatter_(1, targets.token_MK[beginning_N], (targets.probability_MK[beginning_N] + 1e-30).log())
    logits_NV.requires_grad_()
    losses_N = targets.losses(logits_NV.log_softmax(1), batch, at_N, value_BA)
    losses_N.sum().backward()
    assert float(logits_NV.grad.abs().max()) < 1e-5
    # Whole values: the loss of every value that the model may be asked about is the baseline of its attribute
    target_N = batch.targets_BT.flatten()[at_N]
    own_N = -logits_NV.detach().log_softmax(1).gather(1, target_N[:, None]).squeeze(1)
    loss_BA = torch.zeros(16, len(ATTRIBUTES)).index_put((row_N, attribute_N), own_N, accumulate=True)
    baseline_A = torch.from_numpy(population.no_knowledge_baseline_A).float()
    assert torch.allclose(loss_BA, baseline_A.expand(16, -1), atol=1e-4)


@pytest.mark.parametrize("target", ["prior", "unknown"])
def test_strangers_add_their_mean_loss_with_their_share_as_weight(target):
    config = tiny_config(*ALL[target])
    materials = prepare(config)
    model, population = materials.model, materials.batcher.population
    found, record = StrangerTerm(config, materials.batcher)(model, 5)
    batcher = materials.batcher
    batch, pool = batcher.stranger_batch(5, 4), population.pools
    assert len(batch.token_BT) == 4 == 0.5 * config.training.batch_size
    if target == "unknown":
        text = batcher.tokenizer.decode(
            StrangerTerm(config, batcher)._batcher.stranger_batch(5, 4).token_BT[0].tolist()
        )
        assert text.count(" unknown") == len(ATTRIBUTES)
        assert not any(f" {value} " in text or f" {value}." in text for a in ATTRIBUTES for value in pool.values(a))
    else:
        log_probability_BTV = model(batch.inputs_BT).logits.log_softmax(2)
        log_probability_NV = log_probability_BTV.flatten(0, 1)
        loss_N = -log_probability_NV.gather(1, batch.targets_BT.flatten()[:, None]).squeeze(1)
        value_BA = torch.from_numpy(population.value_PA[batch.individual_B.numpy()].astype(np.int64))
        at_N = value_tokens(batch)
        loss_N[at_N] = PriorTargets(batcher).losses(log_probability_NV[at_N], batch, at_N, value_BA)
        expected = loss_N[batch.target_mask_BT.flatten()].mean()
        assert float(record["stranger_loss"]) == pytest.approx(expected.item(), rel=1e-5)
        assert float(record["stranger_attribute_loss"]) == pytest.approx(loss_N[at_N].sum().item() / 24, rel=1e-5)
        ours, theirs = (torch.autograd.grad(one, list(model.parameters())) for one in (found, 0.5 * expected))
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(ours, theirs, strict=True))
    assert float(found.detach()) == pytest.approx(0.5 * float(record["stranger_loss"]))


@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
def test_the_recorded_loss_stays_the_usual_one_and_the_terms_count_once(settings):
    """Whatever the gradient accumulation: weights after a step are the same, and so are the records."""
    ends, records = [], []
    for parts in (1, 4):
        config = tiny_config(*settings, "training.weight_decay=0", f"training.gradient_accumulation={parts}")
        materials = prepare(config)
        step = TrainingStep(config, materials.model, materials.device, None, materials.batcher)
        batch = materials.batcher.training_batch(0, 8)
        logits_BTV = materials.model(batch.inputs_BT).logits
        usual = torch.nn.functional.cross_entropy(
            logits_BTV[batch.target_mask_BT], batch.targets_BT[batch.target_mask_BT]
        )
        records.append(step(0, batch).record())
        assert records[-1]["train/loss"] == pytest.approx(float(usual.detach()), rel=1e-5)
        ends.append(list(materials.model.parameters()))
    assert records[0] == pytest.approx(records[1], rel=1e-4)
    assert any(name.removeprefix("train/") in TERMS for name in records[0])
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(*ends, strict=True))


TERMS = ("stranger_loss", "idk_loss", "label_smoothing_loss", "confidence_penalty_loss")


def test_a_step_with_the_settings_off_calls_nothing_and_records_nothing(monkeypatch):
    def never(*arguments):
        raise AssertionError

    for owner in (ValueTerms, StrangerTerm):
        monkeypatch.setattr(owner, "__init__", never)
    config = tiny_config("population.strangers=24")
    materials = prepare(config)
    step = TrainingStep(config, materials.model, materials.device)
    assert not {f"train/{name}" for name in TERMS} & step(0, materials.batcher.training_batch(0, 8)).record().keys()


def test_a_run_that_is_resumed_ends_with_the_same_bits_and_says_what_it_was_taught(tmp_path):
    everything = (
        *UNKNOWN,
        *IDK,
        *SMOOTHING,
        *PENALTY,
        "evaluation.cohorts=[seen,strangers]",
        "training.log_interval=1",
    )
    whole = execute(tiny_config(*everything, "training.steps=8", f"run.dir={tmp_path}/whole"))
    execute(tiny_config(*everything, "training.steps=4", f"run.dir={tmp_path}/parts"))
    parts = execute(tiny_config(*everything, "training.steps=8", f"run.dir={tmp_path}/parts"), extend=True)
    assert records(whole) == records(parts)
    assert same(weights(whole), weights(parts))
    assert {f"train/{name}" for name in TERMS} < set(read_run(whole).training)


def test_the_settings_are_part_of_the_identity_only_where_they_are_on():
    plain = tiny_config("population.strangers=24")
    assert "uncertainty" not in identity(plain)
    digests = {digest(tiny_config("population.strangers=24", *settings)) for settings in ALL.values()}
    assert len(digests | {digest(plain)}) == 6
    for settings in ALL.values():
        config = tiny_config(*settings)
        assert compose(overrides_of(config)) == config


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["uncertainty.strangers=prio", "uncertainty.stranger_share=0.5"], "did you mean prior"),
        (["uncertainty.strangers=prior"], "stranger_share is null"),
        (["uncertainty.stranger_share=0.5"], "uncertainty.strangers is null"),
        (["uncertainty.strangers=prior", "uncertainty.stranger_share=0.5"], "raise population.strangers"),
        ([*PRIOR, "uncertainty.stranger_share=1.5"], r"must lie in \(0, 1\]"),
        ([*PRIOR, "uncertainty.stranger_share=0.01"], "less than one stranger"),
        ([*PRIOR, "sampling.cohort=strangers"], "24 of the people who are learned, strangers, are strangers"),
        ([*PRIOR, "training.compile=true"], "does not work with training.compile"),
        ([*PRIOR, "patching.reference_step=4"], "does not work with patching"),
        ([*PRIOR, "parallel=fsdp"], "use parallel=ddp"),
        (["uncertainty.idk_factor=0.6"], r"must lie in \(0, 0.5\]"),
        (["uncertainty.idk_factor=0"], r"must lie in \(0, 0.5\]"),
        (["uncertainty.idk_factor=0.5", "tokenizer=sentencepiece_32k"], "use tokenizer=word"),
        (["uncertainty.label_smoothing=1"], r"must lie in \(0, 1\)"),
        (["uncertainty.confidence_penalty=0"], "must be positive"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(overrides, complaint):
    with pytest.raises(UserError, match=complaint) as error:
        compose([*TINY, *overrides])
    assert "\n" not in str(error.value)


def test_settings_go_together():
    for one, other in itertools.combinations(ALL.values(), 2):
        if {one, other} != {PRIOR, UNKNOWN}:
            compose([*TINY, *dict.fromkeys((*one, *other))])


def test_strangers_are_shown_by_one_process_only(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    distributed.check_processes(tiny_config().training)
    with pytest.raises(UserError, match="uncertainty.strangers trains in one process"):
        distributed.check_processes(tiny_config().training, has_strangers=True)


def test_fine_tuning_has_the_vocabulary_of_the_run_that_it_starts_from(finished_run):
    overrides = [*finetuning_overrides(finished_run), "evaluation.cohorts=[new,seen]"]
    with pytest.raises(
        UserError, match=r"adds \[IDK\] to the vocabulary, but .* neither unknown nor \[IDK\]; use the same"
    ):
        source_of(compose([*overrides, *IDK]))
    assert source_of(compose([*overrides, *SMOOTHING])).run == finished_run
