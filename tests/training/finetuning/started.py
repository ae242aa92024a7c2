"""Models as fine-tuning finds them, without a run to start from."""

import torch

from moefacts.experiments.tasks.materials import prepare
from moefacts.training.step import TrainingStep
from tests.conftest import tiny_config

MIXTURE = ("model=moe_laptop", "model.num_layers=2", "model.moe.num_experts=4", "model.moe.d_expert=16")
SHAPES = {
    "dense": ("model.num_layers=2",),
    "mixture": (*MIXTURE, "model.moe.layers=every_second", "model.moe.num_shared=1"),
}


def started(*overrides):
    """A configuration of a run that starts from another's weights, and its materials."""
    config = tiny_config("init.run=x", "init.step=1", "init.source=y", "sampling.cohort=new", *overrides)
    return config, prepare(config)


def trained(config, materials, steps=3):
    """Weights by name before and after some steps with a large weight decay, and the step."""
    config.training.weight_decay = 10
    step = TrainingStep(config, materials.model, materials.device, batcher=materials.batcher)
    before = {name: parameter.detach().clone() for name, parameter in materials.model.named_parameters()}
    for number in range(steps):
        step(number, materials.batcher.training_batch(number, 8))
    return before, dict(materials.model.named_parameters()), step


def logits(model, batch):
    """The model's logits for a batch, in evaluation mode."""
    was_training = model.training
    with torch.no_grad():
        found = model.eval()(batch.inputs_BT).logits
    model.train(was_training)
    return found
