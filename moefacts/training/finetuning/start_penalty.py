"""Penalties on the way from the weights that fine-tuning starts from: L2-SP and elastic weight consolidation."""

import torch
from torch import Tensor

from moefacts.config.schema import RunConfig
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.randomness import stream_key
from moefacts.training.method import Method, measuring
from moefacts.training.pack import pack


class L2SP(Method):
    """λ/2 · ‖θ − θ₀‖² is added to the loss, θ₀ being the weights that training starts from (arXiv 1802.01483)."""

    def __init__(self, config: RunConfig, model: Transformer, batcher: Batcher | None = None):
        super().__init__(config, model, batcher)
        assert config.training.start_penalty is not None
        self._weight = config.training.start_penalty / 2
        self._start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def penalty(self, model: Transformer, step: int) -> Tensor:
        """λ/2 · ‖θ − θ₀‖² over all weights."""
        distances = [self._squares(name, parameter).sum() for name, parameter in model.named_parameters()]
        return self._weight * torch.stack(distances).sum()

    def _squares(self, name: str, parameter: Tensor) -> Tensor:
        return (parameter - self._start[name]).square()


class EWC(L2SP):
    """λ/2 · Σ F_i (θ_i − θ₀_i)² is added to the loss, F being ``diagonal_fisher`` at θ₀ (arXiv 1612.00796, eq. 3)."""

    def __init__(self, config: RunConfig, model: Transformer, batcher: Batcher | None = None):
        super().__init__(config, model, batcher)
        cohort, number, size = config.method.cohort, config.method.batches, config.training.batch_size
        assert batcher is not None
        assert cohort is not None
        assert number is not None
        self._fisher = diagonal_fisher(model, batcher, cohort, number, size)

    def _squares(self, name: str, parameter: Tensor) -> Tensor:
        return self._fisher[name] * super()._squares(name, parameter)


def diagonal_fisher(
    model: Transformer, batcher: Batcher, cohort: str, num_batches: int, batch_size: int
) -> dict[str, Tensor]:
    """The diagonal of the Fisher information of a token's distribution, averaged over biographies of ``cohort``.

    F_i = mean over tokens of E[(∂ log p(y) / ∂θ_i)²], y drawn from the model's own distribution, not from the data
    (Kunstner et al. 2019). As gradients for y of its own distribution are zero on average, the square of their sum over
    a batch is on average the sum of their squares. So one backward pass for each batch is an unbiased estimate.

    Returns:
        Parameter name -> F, in the shape of the parameter, in nats per token per squared unit of the weight.
    """
    parameters = dict(model.named_parameters())
    fisher = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    num_tokens = 0
    with measuring(model, stream_key(batcher.population.seed, "fisher")), torch.enable_grad():
        for number in range(num_batches):
            batch = batcher.cohort_batch(cohort, "fisher", number, batch_size)
            log_probability_NV = model(batch.inputs_BT, pack(batch)).logits.float().log_softmax(dim=-1)
            drawn_N1 = torch.multinomial(log_probability_NV.detach().exp(), 1)
            log_likelihood = log_probability_NV.gather(1, drawn_N1).sum()
            gradients = torch.autograd.grad(log_likelihood, list(parameters.values()), allow_unused=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    fisher[name] += gradient.square()
            num_tokens += batch.num_targets
    return {name: total / num_tokens for name, total in fisher.items()}
