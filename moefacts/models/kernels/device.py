"""All that the models ask about devices and precision."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def is_plain_cpu(x: Tensor) -> bool:
    """Whether ``x`` is fp32 on a CPU, without autocast or compiler. There some operators of PyTorch are slow."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision in which matrix products of ``x`` are computed."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def without_autocast(x: Tensor) -> AbstractContextManager:
    """A context without autocast, in which results computed from ``x`` have the precision of their inputs."""
    return torch.autocast(x.device.type, enabled=False)


def on_device(host: Tensor, device: torch.device) -> Tensor:
    """A copy on ``device`` that the host does not wait for; on a CPU the tensor itself."""
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)
