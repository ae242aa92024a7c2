"""One run shared by the processes that torchrun started. With a single process, every function here does nothing.

All processes run the same loop on the same numbers and make the same decisions. Each works on its own rows of a batch,
and sums over processes complete the result. Only the main process writes files and prints.
"""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from moefacts.config.methods import IN_ONE_PROCESS
from moefacts.config.sections import TrainingConfig
from moefacts.errors import UserError
from moefacts.models.transformer import ModelOutput, Transformer
from moefacts.synthetic_data.batches import Batch
from moefacts.training.interrupt import Interrupted

Value = TypeVar("Value")

_TIMEOUT = timedelta(minutes=10)  # when one process hangs, the others end after this; it must cover a slow checkpoint
_EXIT_FAILED_ELSEWHERE = 2


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes of this run, if torchrun started several, and exit when all have finished.

    When something goes wrong, the first process to notice raises the error and the others exit silently.

    Raises:
        UserError: there are more processes than CUDA devices, or another process was lost.
    """
    if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield
        return
    store, rank, size = next(dist.rendezvous("env://"))
    try:
        if torch.cuda.is_available():
            _take_cuda_device(int(os.environ["LOCAL_RANK"]), torch.cuda.device_count())
        dist.init_process_group(store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
        yield
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it when a process ends; report the error first
        if isinstance(error, Interrupted):  # all processes raise it at the same step; none may leave before all saved
            wait_for_all()
        if store.add("moefacts/failures", 1) > 1:
            raise SystemExit(getattr(error, "exit_code", _EXIT_FAILED_ELSEWHERE)) from None
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            raise UserError(
                "another process of this run was lost or hangs; run the same command again to resume from the last "
                "checkpoint"
            ) from error
        raise
    wait_for_all()
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    # gloo's threads may still hold the last tensors; freeing them while the interpreter shuts down would abort it.
    os._exit(0)


def _take_cuda_device(local_rank: int, num_devices: int) -> None:
    if local_rank >= num_devices:
        raise UserError(
            f"there are {num_devices} CUDA devices here; start at most as many processes (torchrun --nproc-per-node)"
        )
    torch.cuda.set_device(local_rank)


def world_size() -> int:
    """The number of processes that share this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_rank() -> int:
    """The number of this process among those that share the run, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the main process, the only one that writes files and prints."""
    return process_rank() == 0


def check_processes(training: TrainingConfig, has_strangers: bool = False) -> None:
    """Raise ``UserError`` when the processes cannot share the run, or have not joined each other."""
    if not dist.is_initialized() and dist.is_torchelastic_launched() and os.environ["WORLD_SIZE"] != "1":
        raise UserError("torchrun shares one run at a time: use it with `moefacts train` and without a Hydra launcher")
    if world_size() > 1 and training.method in IN_ONE_PROCESS:
        raise UserError(f"training.method={training.method} trains in one process; start it without torchrun")
    if world_size() > 1 and has_strangers:
        raise UserError("uncertainty.strangers trains in one process; start it without torchrun")
    if training.batch_size % (world_size() * training.gradient_accumulation):
        raise UserError(
            f"training.batch_size={training.batch_size} is the batch of all processes; it must be a multiple of "
            f"{world_size()} processes × training.gradient_accumulation={training.gradient_accumulation}"
        )


def from_main(value: Value) -> Value:
    """Return the main process's ``value`` in every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def agreed_signal(number: int | None) -> int | None:
    """The signal that any of the processes received, so that all stop at the same step; None if none did."""
    if world_size() == 1:
        return number
    largest = torch.tensor(number or 0)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest) or None


def wait_for_all() -> None:
    """Return once every process has called this."""
    agreed_signal(None)


def total(amount: Tensor) -> Tensor:
    """The sum of ``amount`` over processes; gradients flow to this process's own amount only.

    So a loss of totals has the same value in every process, and the processes' gradients add up to its gradient.
    """
    if world_size() == 1:
        return amount
    everywhere = amount.detach().clone()
    dist.all_reduce(everywhere)
    return everywhere + (amount - amount.detach())


def own_rows(batch: Batch) -> Batch:
    """This process's equal share of ``batch``: every n-th row, so that each process gets long and short biographies."""
    return batch if world_size() == 1 else batch.rows(slice(process_rank(), None, world_size()))


def own_turns(items: Sequence[Value]) -> Iterator[tuple[Value, bool]]:
    """Yield every n-th item, where n is the number of processes, and whether this process is the one to count it.

    All processes get equally many items, because a sharded model works only when all call it. Where items run out, a
    process repeats one that another process counts.
    """
    for start in range(0, len(items), world_size()):
        number = start + process_rank()
        yield items[number % len(items)], number < len(items)


@dataclass(frozen=True)
class SharedModel:
    """A model prepared for training steps in which backward passes average the gradients of all processes.

    Attributes:
        forward: called instead of the model.
        gradients_kept: a context in which backward passes add to this process's gradients without averaging.
    """

    forward: Callable[..., ModelOutput]
    gradients_kept: Callable[[], AbstractContextManager] = nullcontext


def share(model: Transformer, parallel: str, compile_forward: bool) -> SharedModel:
    """Share a model between processes.

    With ``ddp`` every process holds the whole model. With ``fsdp`` weights, gradients and optimizer state are sharded,
    in place. A compiled dense model has one graph per batch width; a compiled mixture has one for any number of tokens.
    """
    if world_size() > 1 and parallel == "fsdp":
        _shard(model)
    forward: Any = model
    if compile_forward:
        forward = torch.compile(model, dynamic=False if model.config.moe is None else None)
    if world_size() == 1:
        return SharedModel(forward)
    if parallel == "fsdp":
        return SharedModel(forward, partial(_sharded_gradients_kept, model))
    ddp = DistributedDataParallel(forward, gradient_as_bucket_view=True)
    return SharedModel(ddp, ddp.no_sync)


def _shard(model: Transformer) -> None:
    from torch.distributed.fsdp import fully_shard  # half a second to import

    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")  # nobody writes into it
    for layer in model.layers:
        fully_shard(layer)
    fully_shard(model)


@contextmanager
def _sharded_gradients_kept(model: Any) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    yield
    model.set_requires_gradient_sync(True)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded; all processes must call this."""
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: Tensor, like: Tensor | None) -> Tensor:
    """This process's shard of a whole ``tensor`` if ``like`` is sharded, else ``tensor``; scalars are not sharded."""
    if world_size() == 1:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or tensor.ndim == 0:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
