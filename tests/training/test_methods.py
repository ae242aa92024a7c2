"""Weights change only where a method's ``learns`` lets them, and its ``penalty`` acts on them."""

import torch

from moefacts.config import sections
from moefacts.experiments.tasks.materials import prepare
from moefacts.training import methods
from moefacts.training.methods import METHODS, Method
from moefacts.training.step import TrainingStep
from tests.conftest import tiny_config


class FreezeBottom(Method):
    def learns(self, name, parameter):
        return not name.startswith(("embedding.", "layers.0."))


class StayNear(Method):
    """L2-SP (Li et al. 2018) with a weight that outweighs the loss."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.start = [parameter.detach().clone() for parameter in model.parameters()]

    def penalty(self, model):
        pairs = zip(model.parameters(), self.start, strict=True)
        return 1e4 * torch.stack([(parameter - start).square().sum() for parameter, start in pairs]).sum()


def trained(monkeypatch, method, steps=4, *overrides):
    monkeypatch.setitem(methods.METHODS, "full", method)
    config = tiny_config("model.num_layers=2", "training.weight_decay=10", *overrides)
    materials = prepare(config)
    before = {name: parameter.detach().clone() for name, parameter in materials.model.named_parameters()}
    step = TrainingStep(config, materials.model, materials.device)
    losses = [float(step(number, materials.batcher.training_batch(number, 8)).loss) for number in range(steps)]
    return before, dict(materials.model.named_parameters()), losses


def test_every_method_that_can_be_configured_exists():
    assert tuple(METHODS) == sections.METHODS


def test_parameters_that_do_not_learn_stay_bit_for_bit_whatever_the_weight_decay(monkeypatch):
    before, after, _ = trained(monkeypatch, FreezeBottom)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if not name.startswith(("embedding.", "layers.0."))}
    assert len(moved) > 5


def test_a_penalty_acts_on_the_weights_and_is_not_in_the_recorded_loss(monkeypatch):
    def distance(method):
        before, after, losses = trained(monkeypatch, method, 6, "training.clip_norm=null")
        return sum(float((before[name] - after[name]).detach().norm()) for name in before), losses

    (free, losses), (held, losses_held) = distance(Method), distance(StayNear)
    assert held < 0.7 * free
    assert losses[0] == losses_held[0]


def test_a_penalty_counts_once_whatever_the_gradient_accumulation(monkeypatch):
    ends = [
        trained(monkeypatch, StayNear, 2, "training.batch_size=8", f"training.gradient_accumulation={parts}")[1]
        for parts in (1, 4)
    ]
    for name, parameter in ends[0].items():
        assert torch.allclose(parameter, ends[1][name], atol=1e-5), name
