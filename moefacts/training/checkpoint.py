"""Checkpoints: weights and optimizer state as safetensors, and the state of the loop as JSON."""

import dataclasses
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from moefacts.config.sections import CheckpointConfig
from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.durable import sync_folder, write_durably
from moefacts.runs.stored import Count, NotNegative, Real, Truth, read_json
from moefacts.training.adapters import are_adapted, merged
from moefacts.training.checksums import verify, write_checksums
from moefacts.training.distributed import is_main, sharded_like, whole
from moefacts.training.optimizer import load_optimizer_tensors, optimizer_tensors
from moefacts.training.tensor_files import save_tensors

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass
class LoopState:
    """The state of the training loop besides weights and optimizer. Everything random is a function of the step.

    A default is the value of an entry that a checkpoint of an earlier version lacks.
    """

    step: Count = 0
    tokens: Count = 0
    records: Count = 0  # the number of lines in the metrics file
    plateau_end: Count | None = None
    last_attribute_loss: Real | None = None
    running_attribute_loss: Real | None = None  # averaged over training batches that are logged
    last_accuracy: Real = 0.0
    wall_seconds: NotNegative = 0.0
    lacks_evaluation: Truth = False  # a signal cut the evaluation of this step short; it is made after resuming
    widening_steps: list[Count] = field(default_factory=list)  # the steps at which an adaptive curriculum added people


_STATE = TypeAdapter(LoopState)


def checkpoint_schedule(config: CheckpointConfig, steps: int) -> set[int]:
    """The steps after which a checkpoint is kept, which always include the first and the last."""
    until = min(config.interval_until, steps)
    dense = set(range(0, until + 1, config.interval))
    left = steps - until
    number = min(config.num_uniform, left)  # as many as there are steps are all of them
    uniform = {until + round(left * (i + 1) / number) for i in range(number)}
    return dense | uniform | {0, steps}


def save_checkpoint(run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: LoopState) -> None:
    """Write a checkpoint under a temporary name, sync it and rename it, so that it exists whole or not at all.

    All processes must call this, because each may hold shards of what the main process writes.
    """
    weights = _whole_tensors(model.state_dict())  # first, because it returns a sharded model to its shards
    moments = _whole_tensors(optimizer_tensors(model, optimizer))
    target = layout.checkpoint_folder(run, state.step)
    if target.exists() or not is_main():
        return
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save_tensors(temporary / MODEL, weights)
        save_tensors(temporary / OPTIMIZER, moments)
        write_durably(temporary / STATE, json.dumps(dataclasses.asdict(state)).encode())
        write_checksums(temporary, (MODEL, OPTIMIZER, STATE))
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(target.parent)


def _whole_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors unsharded, in the main process only; those that had to be gathered are moved to the CPU."""
    gathered = ((name, tensor, whole(tensor.detach())) for name, tensor in tensors.items())
    return {name: full if full is tensor else full.cpu() for name, tensor, full in gathered if is_main()}


def remove_checkpoint(run: Path, step: int) -> None:
    """Delete the checkpoint of ``step``."""
    shutil.rmtree(layout.checkpoint_folder(run, step))


def prune_checkpoints(run: Path, schedule: set[int], keep_optimizer: int) -> None:
    """Delete checkpoints outside the schedule, except the newest, and all but the newest optimizer states."""
    steps = layout.checkpoint_steps(run)
    for step in steps[:-1]:
        if step not in schedule:
            remove_checkpoint(run, step)
    for step in [step for step in steps if step in schedule or step == steps[-1]][:-keep_optimizer]:
        (layout.checkpoint_folder(run, step) / OPTIMIZER).unlink(missing_ok=True)


# Earlier versions called a layer's mixer "attention" or "recurrence".
_FORMER_NAME = re.compile(r"^(layers\.\d+)\.(attention|recurrence)(?=\.|_norm\.)")


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights or optimizer tensors of any version, under the parameter names of this version."""
    return {_FORMER_NAME.sub(r"\1.mixer", name): tensor for name, tensor in tensors.items()}


def load_weights(run: Path, step: int, model: nn.Module, fresh: str | None = None) -> None:
    """Load the weights of ``step`` into ``model``; into a model without adapters, those with the adapters merged.

    Args:
        run: the run directory.
        step: the step of the checkpoint.
        model: takes the weights.
        fresh: weights whose names contain this stay as they are where the checkpoint lacks them.

    Raises:
        UserError: the checkpoint is damaged or does not fit the model.
    """
    tensors = renamed(_load_tensors(layout.checkpoint_folder(run, step) / MODEL))
    try:
        own = model.state_dict()
        if not are_adapted(own):
            tensors = merged(tensors)
        if fresh is not None:
            tensors = {name: tensor for name, tensor in own.items() if fresh in name} | tensors
        model.load_state_dict({name: sharded_like(tensor, own.get(name)) for name, tensor in tensors.items()})
    except (RuntimeError, KeyError):
        raise UserError(
            f"the checkpoint of step {step} in {run} does not fit the model; the settings of model "
            "must be those of that run"
        ) from None


def load_state(run: Path, step: int) -> LoopState:
    """The state of the loop in the checkpoint of ``step``.

    Raises:
        UserError: it is missing or damaged.
    """
    path = layout.checkpoint_folder(run, step) / STATE
    values = read_json(path, "checkpoint", _STATE)
    verify(path)
    if not values.keys() <= vars(LoopState()).keys() or values.get("step") != step:
        raise UserError(f"{path} is damaged: it is not the state of step {step}")
    return LoopState(**values)


def load_checkpoint(run: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> LoopState:
    """Restore weights and optimizer from the checkpoint of ``step``, and return the state of the loop.

    Raises:
        UserError: the checkpoint is damaged or does not fit the model.
    """
    folder = layout.checkpoint_folder(run, step)
    try:
        load_weights(run, step, model)
        load_optimizer_tensors(model, optimizer, renamed(_load_tensors(folder / OPTIMIZER)))
        return load_state(run, step)
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"cannot resume from step {step}: {error}; train the run in another run.dir") from None


def _load_tensors(path: Path) -> dict[str, Tensor]:
    verify(path)
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({str(error).partition(chr(10))[0]})") from None
