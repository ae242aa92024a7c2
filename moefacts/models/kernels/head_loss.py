"""Unembedding and cross entropy in one, a chunk of tokens at a time, so that the logits never all exist at once.

The gradients are exact. They are computed in the forward pass, when a chunk's probabilities are known, so nothing is
computed twice. Therefore the scale of the objective must be given.

Shape legend: N tokens, D model width, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from moefacts.models.kernels.device import product_dtype, without_autocast

# Logits per chunk: they fit a CPU core's cache, or need few launches on CUDA (benchmarks/floor.py).
_ELEMENTS_PER_CHUNK = {"cpu": 1 << 18, "cuda": 1 << 27}


def head_loss(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """``scale`` times the summed cross entropy, to differentiate, and the unreduced cross entropy, to read.

    Args:
        hidden_ND: the hidden states that are unembedded.
        weight_VD: the unembedding.
        target_N: the tokens to predict.
        scale: the factor of the objective, such as one over the number of tokens.

    Returns:
        The objective, a scalar, and the losses in nats, shape (N,), which carry no gradient; both in fp32.
    """
    dtype = product_dtype(hidden_ND)
    with without_autocast(hidden_ND):
        return _HeadLoss.apply(hidden_ND, weight_VD, target_N, scale, dtype)


def head_loss_reference(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The formula of ``head_loss``, from the logits of all tokens."""
    loss_N = token_losses(F.linear(hidden_ND, weight_VD), target_N)
    return loss_N.sum() * scale, loss_N.detach()


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Unreduced cross entropy in nats, in the shape of ``targets``, computed in fp32."""
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="none").view_as(targets)


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, scale: float, dtype: torch.dtype):
        num_tokens, size = len(hidden_ND), len(weight_VD)
        rows = min(num_tokens, max(64, _ELEMENTS_PER_CHUNK[hidden_ND.device.type] // size))
        cast_weight_VD = weight_VD.to(dtype)
        loss_N = hidden_ND.new_empty(num_tokens, dtype=torch.float32)
        grad_hidden_ND, grad_weight_VD = torch.empty_like(hidden_ND), torch.zeros_like(weight_VD)
        buffer_CV = hidden_ND.new_empty(rows, size, dtype=dtype)
        other_CV = hidden_ND.new_empty(rows, size, dtype=torch.float32)
        for start in range(0, num_tokens, rows):
            part = slice(start, start + rows)
            part_CD, target_C1 = hidden_ND[part].to(dtype), target_N[part, None]
            logits_CV = torch.mm(part_CD, cast_weight_VD.T, out=buffer_CV[: len(part_CD)]).float()
            target_logit_C, largest_C = logits_CV.gather(1, target_C1).squeeze(1), logits_CV.amax(dim=1)
            probability_CV = torch.softmax(logits_CV, dim=1, out=other_CV[: len(part_CD)])
            # log sum exp(logits) = largest logit - log(largest probability), which cannot underflow
            loss_N[part] = largest_C - probability_CV.amax(dim=1).log_() - target_logit_C
            grad_CV = probability_CV.scatter_add_(1, target_C1, -torch.ones_like(target_C1, dtype=torch.float32))
            grad_CV = grad_CV.to(dtype)
            grad_hidden_ND[part] = torch.mm(grad_CV, cast_weight_VD)
            if dtype == grad_weight_VD.dtype:
                grad_weight_VD.addmm_(grad_CV.T, part_CD)
            else:
                grad_weight_VD += torch.mm(grad_CV.T, part_CD)
        ctx.save_for_backward(grad_hidden_ND.mul_(scale), grad_weight_VD.mul_(scale))
        ctx.mark_non_differentiable(loss_N)
        return loss_N.sum() * scale, loss_N

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, _: Tensor):
        grad_hidden_ND, grad_weight_VD = ctx.saved_tensors
        return grad_hidden_ND * grad, grad_weight_VD * grad, None, None, None
