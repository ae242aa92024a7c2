"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685) through peft, of single matrices and of experts' stacked ones.

peft replaces modules, whereas the kernels of this package read weights. So peft makes and applies the adapters of
weights that stand alone, and torch's parametrizations put the changed weights into the model.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from moefacts.config.schema import RunConfig
from moefacts.models.kernels.device import without_autocast
from moefacts.models.transformer import Transformer
from moefacts.models.weight_groups import groups_of
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.randomness import stream_key
from moefacts.training.method import Method

_ADAPTER, _WEIGHT = "default", "weight"


class LoRA(Method):
    """Weights W of the groups ``method.targets`` become W + (α / r) · B · A, and only A and B learn.

    Each expert has an A and a B of its own. B starts at zero, so the model starts as it was.
    """

    def __init__(self, config: RunConfig, model: Transformer, batcher: Batcher | None = None):
        super().__init__(config, model, batcher)
        targets = {
            name: parameter
            for name, parameter in model.named_parameters()
            if groups_of(name, config.model) & set(config.method.targets)
        }
        assert config.method.rank is not None
        assert config.method.alpha is not None
        torch.manual_seed(stream_key(config.seed, "lora"))
        for name, wrapper in adapters(targets, config.method.rank, config.method.alpha).items():
            owner, _, weight = name.rpartition(".")
            change = LowRankChange(wrapper)
            parametrize.register_parametrization(model.get_submodule(owner), weight, change, unsafe=True)
        for group in config.method.targets:
            expected = sum(
                config.method.rank * _num_sides(weight)
                for name, weight in targets.items()
                if group in groups_of(name, config.model)
            )
            found = sum(
                parameter.numel()
                for name, parameter in model.named_parameters()
                if self.learns(name, parameter) and group in groups_of(name, config.model)
            )
            assert found == expected > 0, group  # peft leaves out what it does not find, without a word

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether it is an A or a B."""
        return ".lora_" in name


def _num_sides(weight: Tensor) -> int:
    """Inputs plus outputs of a matrix, or of all experts' matrices."""
    return (weight.shape[-1] + weight.shape[-2]) * weight[..., 0, 0].numel()


class LowRankChange(nn.Module):
    """The parametrization that adds the change of a peft adapter to a weight."""

    scaling: Tensor  # α / r, so that a checkpoint says all about its changes

    def __init__(self, wrapper: Any):
        super().__init__()
        self.lora_A, self.lora_B = wrapper.lora_A[_ADAPTER], wrapper.lora_B[_ADAPTER]
        self.register_buffer("scaling", torch.tensor(wrapper.scaling[_ADAPTER], dtype=torch.float64))
        self._wrapper = (wrapper,)  # in a tuple, so that its copy of the weight is no part of the model

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight."""
        with without_autocast(weight):
            return weight + self._wrapper[0].get_delta_weight(_ADAPTER)


class _Alone(nn.Module):
    """A weight that stands alone."""

    def __init__(self, weight: nn.Parameter):
        super().__init__()
        self.weight = weight


def adapters(weights: dict[str, nn.Parameter], rank: int, alpha: float) -> dict[str, nn.Module]:
    """peft's adapter of every weight, of shape (F, D) or (E, F, D), by the weight's name."""
    from peft import LoraConfig, inject_adapter_in_model  # imports transformers, which takes seconds
    from peft.tuners.lora.layer import ParamWrapper

    holder = nn.ModuleDict({str(place): _Alone(weight) for place, weight in enumerate(weights.values())})
    targets = [f"{place}.{_WEIGHT}" for place in holder]
    scale: Any = alpha  # declared an int, and any number will do
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=[], target_parameters=targets)
    inject_adapter_in_model(config, holder, _ADAPTER)
    found: dict[str, nn.Module] = {}
    for (name, weight), wrapper in zip(weights.items(), holder.values(), strict=True):
        assert isinstance(wrapper, ParamWrapper), name
        assert wrapper.lora_A[_ADAPTER].in_features == weight.shape[-1], name
        found[name] = wrapper
    return found
