"""Self-distillation: the model stays close to what it said of other people before it learned new ones."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from moefacts.config.schema import RunConfig
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.method import Method
from moefacts.training.pack import pack


class SelfDistillation(Method):
    """β · KL(p₀ ‖ p) is added to the loss, p₀ being the model that training starts from (arXiv 1606.09282).

    It is the mean over the tokens of ``training.batch_size`` biographies of people of ``method.cohort``, others at
    every step. They are not learned: only what the model said about them before is to stay.
    """

    def __init__(self, config: RunConfig, model: Transformer, batcher: Batcher | None = None):
        super().__init__(config, model, batcher)
        assert batcher is not None
        self._batcher = batcher
        self._before = copy.deepcopy(model).eval().requires_grad_(False)

    def penalty(self, model: Transformer, step: int) -> Tensor:
        """β · KL(p₀ ‖ p) in nats per token."""
        method, size = self.config.method, self.config.training.batch_size
        assert method.cohort is not None
        assert method.distillation is not None
        batch = self._batcher.cohort_batch(method.cohort, "distillation", step, size)
        packing = pack(batch)
        with torch.no_grad():
            before_NV = self._before(batch.inputs_BT, packing).logits.float().log_softmax(dim=-1)
        now_NV = model(batch.inputs_BT, packing).logits.float().log_softmax(dim=-1)
        return method.distillation * F.kl_div(now_NV, before_NV, reduction="batchmean", log_target=True)
