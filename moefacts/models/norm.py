"""The norm before every mixer, before every feed-forward block, and at the end.

Shape legend: D model width.
"""

import torch
from torch import Tensor, nn

from moefacts.models.kernels.rms_norm import rms_norm


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis, with a learned scale (Zhang & Sennrich 2019)."""

    def __init__(self, d_model: int, epsilon: float):
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis of ``x``."""
        return rms_norm(x, self.weight, self.epsilon)
