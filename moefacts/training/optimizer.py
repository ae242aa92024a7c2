"""AdamW, and learning-rate schedules as pure functions of the step."""

import math

import torch
from torch import Tensor, nn

from moefacts.config.sections import TrainingConfig
from moefacts.training.distributed import sharded_like


def learning_rate(step: int, config: TrainingConfig) -> float:
    """The learning rate of the update that leads from ``step`` to ``step + 1``.

    ``cosine`` falls from ``learning_rate`` at step 0 to ``final_learning_rate`` at the last update, without warm-up.
    """
    if config.schedule == "constant" or config.steps == 1:
        return config.learning_rate
    progress = min(step / (config.steps - 1), 1.0)
    share = 0.5 * (1 + math.cos(math.pi * progress))
    return config.final_learning_rate + share * (config.learning_rate - config.final_learning_rate)


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Fused AdamW over the parameters that learn.

    It decays matrices but not vectors (norm scales, a recurrence's Λ and gate biases).
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as flat tensors named ``<parameter>/<quantity>``."""
    return {
        f"{name}/{quantity}": tensor
        for name, parameter in model.named_parameters()
        for quantity, tensor in optimizer.state[parameter].items()
    }


def load_optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load tensors that ``optimizer_tensors`` returned; the optimizer keeps its own settings."""
    parameters = dict(model.named_parameters())
    for key, tensor in tensors.items():
        name, quantity = key.rsplit("/", 1)
        # The fused kernel wants the step counter on the parameter's device.
        copied = tensor.to(parameters[name].device, copy=True)
        optimizer.state[parameters[name]][quantity] = sharded_like(copied, parameters[name])
