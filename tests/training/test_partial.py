"""Where a method trains some entries of a weight, the others stay as they are and do not count."""

import pytest
import torch

from moefacts.experiments.tasks.materials import prepare
from moefacts.training import methods
from moefacts.training.method import Method
from moefacts.training.step import TrainingStep
from tests.conftest import tiny_config


class FirstRows(Method):
    """Only the first five rows of the embedding learn."""

    def learns(self, name, parameter):
        return name == "embedding.weight"

    def entries(self, name, parameter):
        return (torch.arange(len(parameter)) < 5)[:, None]


@pytest.fixture
def step(monkeypatch):
    monkeypatch.setitem(methods.METHODS, "full", FirstRows)
    config = tiny_config("training.weight_decay=10", "training.clip_norm=null")
    materials = prepare(config)
    return TrainingStep(config, materials.model, materials.device), materials.batcher.training_batch(0, 8)


def test_other_entries_do_not_move_by_a_bit_whatever_the_weight_decay(step):
    step, batch = step
    before = step.model.embedding.weight.detach().clone()
    for number in range(3):
        step(number, batch)
    moved_V = (before != step.model.embedding.weight).any(dim=1)
    assert moved_V.tolist() == [True] * 5 + [False] * (len(moved_V) - 5)


def test_the_norm_of_the_gradient_is_that_of_the_entries_that_learn(step):
    step, batch = step
    norm = step(0, batch).gradient_norm
    assert float(norm) == pytest.approx(float(step.model.embedding.weight.grad[:5].norm()))
    assert float(step.model.embedding.weight.grad[5:].abs().max()) == 0


def test_the_number_of_parameters_that_learn_counts_entries(step):
    step, _ = step
    assert step.partial.num_trained == 5 * step.model.config.d_model
