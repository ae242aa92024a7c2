"""Where the hand-written forward and backward passes for CPUs apply."""

import torch
from torch import Tensor


def is_plain_cpu(x: Tensor) -> bool:
    """True for fp32 on a CPU, neither autocast nor compiled: there some of PyTorch's own operators are slower."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
