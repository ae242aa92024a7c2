"""The training methods.

To add one, write a subclass of ``Method`` here, or in a file of ``finetuning`` if it is long, add it to ``METHODS``,
and add its name to ``config.sections.METHODS``. ``config.methods`` has the settings of methods.
"""

from torch import nn

from moefacts.config.schema import RunConfig
from moefacts.models.transformer import Transformer
from moefacts.models.weight_groups import groups_of
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.finetuning.experts import ESFT
from moefacts.training.finetuning.lora import LoRA
from moefacts.training.finetuning.new_experts import NewExperts
from moefacts.training.finetuning.self_distillation import SelfDistillation
from moefacts.training.finetuning.sparse_memory import SparseMemory
from moefacts.training.finetuning.start_penalty import EWC, L2SP
from moefacts.training.method import Method


class Freeze(Method):
    """The weights in ``training.freeze`` stay as they are; freezing the bottom keeps old facts (arXiv 2501.13453)."""

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether it is in none of the frozen groups."""
        return groups_of(name, self.config.model).isdisjoint(self.config.training.freeze)


METHODS: dict[str, type[Method]] = {
    "full": Method,
    "freeze": Freeze,
    "l2_sp": L2SP,
    "ewc": EWC,
    "lora": LoRA,
    "esft": ESFT,
    "sparse_memory": SparseMemory,
    "new_experts": NewExperts,
    "self_distillation": SelfDistillation,
}


def build_method(config: RunConfig, model: Transformer, batcher: Batcher | None = None) -> Method:
    """The method that ``config`` names; gradients of the parameters that it does not train are switched off."""
    method = METHODS[config.training.method](config, model, batcher)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(method.learns(name, parameter))
    return method
