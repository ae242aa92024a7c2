"""Many feed-forward networks, each on its own rows, by one grouped product for all experts or expert by expert.

Shape legend: A assignments of a token to an expert, E experts, D model width, F expert width.
"""

from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor

from moefacts.models.kernels.device import is_plain_cpu, product_dtype
from moefacts.models.kernels.mlp import activate, mlp, mlp_reference

# On a CPU, grouped products make a training step faster up to about this many assignments per expert (LOG.md).
_GROUPED_UP_TO = 1024


def expert_products(
    x_AD: Tensor, count_E: Tensor, up_EFD: Tensor, gate_EFD: Tensor | None, down_EDF: Tensor, activation: str
) -> list[Tensor]:
    """Apply each expert to its rows. Rows are in the order of experts, and ``count_E`` says how many each has.

    Returns:
        The results in the order of the rows, in one or several parts; several save a copy.
    """
    if _use_grouped(x_AD, up_EFD):
        return [grouped(x_AD, count_E, up_EFD, gate_EFD, down_EDF, activation)]
    one_by_one = split_outside_graphs if torch.compiler.is_compiling() else split
    return one_by_one(x_AD, count_E, up_EFD, gate_EFD, down_EDF, activation)


def expert_products_reference(
    x_AD: Tensor, count_E: Tensor, up_EFD: Tensor, gate_EFD: Tensor | None, down_EDF: Tensor, activation: str
) -> list[Tensor]:
    """The formula of ``expert_products``, one row at a time."""
    rows = []
    for x_1D, expert in zip(x_AD.split(1), torch.arange(len(count_E)).repeat_interleave(count_E), strict=True):
        gate_FD = None if gate_EFD is None else gate_EFD[expert]
        rows.append(mlp_reference(x_1D, up_EFD[expert], gate_FD, down_EDF[expert], activation))
    return rows


def _use_grouped(x_AD: Tensor, up_EFD: Tensor) -> bool:
    is_bf16 = product_dtype(x_AD) == torch.bfloat16
    multiple = 8 if is_bf16 else 4
    if not hasattr(F, "grouped_mm") or up_EFD.shape[1] % multiple or up_EFD.shape[2] % multiple:
        return False
    is_small = len(x_AD) <= _GROUPED_UP_TO * len(up_EFD)
    return is_bf16 or (is_plain_cpu(x_AD) and is_small)  # on CUDA and in the compiler there is none for fp32


def grouped(
    x_AD: Tensor, count_E: Tensor, up_EFD: Tensor, gate_EFD: Tensor | None, down_EDF: Tensor, activation: str
) -> Tensor:
    """The products of all experts as grouped ones, shape (A, D); the arguments are those of ``expert_products``."""
    offset_E = count_E.cumsum(0).to(torch.int32)
    dtype = product_dtype(x_AD)

    def multiply(x: Tensor, weight: Tensor) -> Tensor:
        return F.grouped_mm(x.to(dtype), weight.to(dtype).transpose(1, 2), offs=offset_E)

    gate = None if gate_EFD is None else multiply(x_AD, gate_EFD)
    return multiply(activate(multiply(x_AD, up_EFD), gate, activation), down_EDF)


def split(
    x_AD: Tensor, count_E: Tensor, up_EFD: Tensor, gate_EFD: Tensor | None, down_EDF: Tensor, activation: str
) -> list[Tensor]:
    """The products of one expert after the other; arguments and result are those of ``expert_products``."""
    # Unbinding once makes the backward pass stack the experts' gradients. Indexing would add each to zeros for all.
    up_E, down_E = up_EFD.unbind(), down_EDF.unbind()
    gate_E = repeat(None) if gate_EFD is None else gate_EFD.unbind()
    parts = x_AD.split(count_E.tolist())
    return [mlp(x, up, gate, down, activation) for x, up, gate, down in zip(parts, up_E, gate_E, down_E, strict=False)]


# A graph cannot read the counts. Unlike ``torch.compiler.disable``, this does not import the compiler, which takes two
# seconds, before something is compiled.
split_outside_graphs = torch._disable_dynamo(split)
