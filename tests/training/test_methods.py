"""Weights change only where a method's ``learns`` lets them, and its ``penalty`` acts on them."""

import pytest
import torch

from moefacts.config import sections
from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import prepare
from moefacts.models.weight_groups import groups_of, weight_groups
from moefacts.training import methods
from moefacts.training.methods import METHODS, Method
from moefacts.training.step import TrainingStep
from tests.conftest import tiny_config


class FreezeBottom(Method):
    def learns(self, name, parameter):
        return not name.startswith(("embedding.", "layers.0."))


class StayNear(Method):
    """L2-SP (Li et al. 2018) with a weight that outweighs the loss."""

    def __init__(self, config, model, batcher):
        super().__init__(config, model, batcher)
        self.start = [parameter.detach().clone() for parameter in model.parameters()]

    def penalty(self, model, step):
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


MIXTURE = ("model=moe_laptop", "model.num_layers=2", "model.moe.num_experts=4", "model.moe.d_expert=16")
SHAPES = {
    "dense": ("model.num_layers=2",),
    "mixture": (*MIXTURE, "model.moe.layers=every_second", "model.moe.num_shared=1"),
    "recurrent": ("model.num_layers=2", "model.mixer=rg_lru"),
}


def moved(config, steps=3):
    """The names of all parameters of a model, and of those that training moved."""
    materials = prepare(config)
    before = {name: parameter.detach().clone() for name, parameter in materials.model.named_parameters()}
    step = TrainingStep(config, materials.model, materials.device)
    for number in range(steps):
        step(number, materials.batcher.training_batch(number, 8))
    return set(before), {name for name, new in materials.model.named_parameters() if not torch.equal(new, before[name])}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_belongs_to_one_kind_and_every_group_has_parameters(shape):
    config = tiny_config(*SHAPES[shape])
    groups = weight_groups(config.model)
    found = [groups_of(name, config.model) for name, _ in prepare(config).model.named_parameters()]
    assert set().union(*found) == set(groups)
    assert all(len({one for one in of if not one.startswith("layer_")}) == 1 for of in found)


@pytest.mark.parametrize(
    ("shape", "group"), [(s, g) for s in SHAPES for g in weight_groups(tiny_config(*SHAPES[s]).model)]
)
def test_a_frozen_group_does_not_move_by_a_bit_and_everything_else_does(shape, group):
    of = tiny_config(*SHAPES[shape], "training.weight_decay=10", "training.method=freeze", f"training.freeze=[{group}]")
    names, changed = moved(of)
    assert changed == {name for name in names if group not in groups_of(name, of.model)}


def l2_sp(weight, *overrides):
    given = ("init.run=x", "init.step=1", "init.source=y", "training.method=l2_sp", f"training.start_penalty={weight}")
    return tiny_config(*given, *overrides)


def test_the_gradient_of_l2_sp_is_its_weight_times_the_way_from_the_start():
    config = l2_sp(0.3)
    model = prepare(config).model
    method = METHODS["l2_sp"](config, model)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    assert float(method.penalty(model, 0).detach()) == 0
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(torch.full_like(parameter, 0.01 * number))
    method.penalty(model, 0).backward()
    for parameter, before in zip(model.parameters(), start, strict=True):
        torch.testing.assert_close(parameter.grad, 0.3 * (parameter.detach() - before))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("training.method=freeze",), "training.method=freeze needs training.freeze"),
        (("training.freeze=[mlp]",), r"training.freeze=\['mlp'\] has no effect without training.method=freeze"),
        (("training.method=freeze", "training.freeze=[router]"), "this model has no router; it has embeddings, head"),
        (("training.method=freeze", "training.freeze=[embeddings,head,norms,attention,mlp]"), "leaves no weights"),
        (("training.method=l2_sp", "training.start_penalty=1"), "training.method=l2_sp starts from the weights of another run"),
        (("training.start_penalty=1",), "has no effect without training.method=l2_sp or ewc"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, reason):
    with pytest.raises(UserError, match=reason):
        tiny_config(*overrides)
