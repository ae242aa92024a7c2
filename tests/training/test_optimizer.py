import math

import pytest
import torch

from moefacts.training.optimizer import build_optimizer, learning_rate, load_optimizer_tensors, optimizer_tensors


def test_cosine_starts_at_the_peak_halves_midway_and_ends_at_the_final_rate(make_config):
    training = make_config(
        "training.schedule=cosine",
        "training.steps=101",
        "training.learning_rate=4e-4",
        "training.final_learning_rate=1e-7",
    ).training
    assert learning_rate(0, training) == 4e-4
    assert learning_rate(50, training) == pytest.approx((4e-4 + 1e-7) / 2)
    assert learning_rate(100, training) == pytest.approx(1e-7)
    assert learning_rate(25, training) == pytest.approx(1e-7 + (4e-4 - 1e-7) * (1 + math.cos(math.pi / 4)) / 2)


def test_constant_stays(make_config):
    training = make_config("training.schedule=constant", "training.learning_rate=0.5").training
    assert {learning_rate(step, training) for step in range(12)} == {0.5}


def quadratic_steps(optimizer, parameter, count):
    for _ in range(count):
        optimizer.zero_grad()
        (parameter**2).sum().backward()
        optimizer.step()


def test_fused_adamw_equals_the_update_rule_written_out(make_config):
    training = make_config("training.weight_decay=0.1", "training.learning_rate=0.01").training
    module = torch.nn.Linear(3, 2, bias=False)
    w = module.weight.detach().clone()
    quadratic_steps(build_optimizer(module, training), module.weight, 5)
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t in range(1, 6):
        g = 2 * w
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
        w = w - 0.01 * 0.1 * w - 0.01 * (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
    assert torch.allclose(module.weight, w, atol=1e-6)


def test_weight_decay_falls_on_matrices_and_not_on_norms(make_config):
    module = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.RMSNorm(3))
    groups = build_optimizer(module, make_config().training).param_groups
    assert {(p.ndim, group["weight_decay"]) for group in groups for p in group["params"]} == {(2, 0.1), (1, 0.0)}


def test_optimizer_state_survives_flattening(make_config):
    training = make_config().training
    modules = [torch.nn.Linear(3, 2, bias=False) for _ in range(2)]
    optimizers = [build_optimizer(module, training) for module in modules]
    quadratic_steps(optimizers[0], modules[0].weight, 3)
    modules[1].load_state_dict(modules[0].state_dict())
    load_optimizer_tensors(modules[1], optimizers[1], optimizer_tensors(modules[0], optimizers[0]))
    for optimizer, module in zip(optimizers, modules, strict=True):
        quadratic_steps(optimizer, module.weight, 3)
    assert torch.equal(modules[0].weight, modules[1].weight)
