"""How much memory a task needs at least, and what to lower, to refuse at once what cannot fit. Imports no torch.

The numbers are lower bounds: what certainly exists at the same time. So nothing that works is refused, and what fails
all the same, because it needs a few times as much, still gets an error that says what to lower.
"""

import resource
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.models.architecture import ModelConfig, parameter_counts

_LEAST_TOKENS, _VALUE_TOKENS, _PIECES = 60, 10, 44  # of a biography
_LEAST_VOCABULARY = {"word": 300, "sentencepiece_32k": 32000}
_BYTES_PER_PERSON = 42  # three names of 2 bytes, six values of 4, six splits of 2
_BYTES_OF_PLAN = 8 * (1 + 6 + 6)  # per biography: its person, the order of its attributes, their templates
_BYTES_OF_PIECES = 8 * _PIECES
_BYTES_OF_TOKENS = _LEAST_TOKENS * 4 * 8  # id, role, attribute and place in its value of every token
_WEIGHT = 4
_WEIGHT_IN_TRAINING = 4 * _WEIGHT  # with its gradient and two moments
_LIMITS_OF_CONTAINERS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_POPULATION = ("population.size", "population.unseen", "population.new", "population.strangers")
_DATASET = ("training.batch_size", *(f"dataset.{key}" for key in ("rows_per_group", "validation", "unseen")))
_MODEL = tuple(f"model.{key}" for key in ("num_layers", "d_model", "num_heads", "d_head", "d_hidden"))
_EXPERTS = tuple(f"model.moe.{key}" for key in ("num_experts", "d_expert", "num_shared", "num_added"))


@dataclass(frozen=True)
class Need:
    """How many bytes a task needs at least, and the setting that decides most about it."""

    num_bytes: float
    setting: str


def need_of_training(config: RunConfig, processes: int = 1) -> Need:
    """What training needs, in the process that needs most."""
    settings = ("training.batch_size", "evaluation.batch_size", "evaluation.biographies")
    return _need(config, lambda one: _training(one, processes), (*_POPULATION, *settings, *_MODEL, *_EXPERTS))


def need_of_reading(config: RunConfig) -> Need:
    """What a trained model needs that answers questions."""
    return _need(config, lambda one: _population(one) + _parameters(one) * _WEIGHT, (*_POPULATION, *_MODEL, *_EXPERTS))


def need_of_dataset(config: RunConfig) -> Need:
    """What writing a dataset needs."""
    return _need(config, _dataset, (*_POPULATION, *_DATASET))


def _need(config: RunConfig, num_bytes: Callable[[RunConfig], float], settings: Iterable[str]) -> Need:
    """The need, and that of ``settings`` without which it would be least."""
    left = {key: num_bytes(smaller) for key in settings if (smaller := _with_1(config, key)) is not None}
    return Need(num_bytes(config), min(left, key=lambda key: left[key]))


def _with_1(config: Any, key: str) -> Any:
    """The configuration with 1 for the setting ``key``; None if it lies in a section that is absent."""
    name, _, rest = key.partition(".")
    if not rest:
        return replace(config, **{name: 1})
    section = getattr(config, name)
    smaller = None if section is None else _with_1(section, rest)
    return None if smaller is None else replace(config, **{name: smaller})


def _training(config: RunConfig, processes: int) -> float:
    training, evaluation = config.training, config.evaluation
    weights = _parameters(config) * _WEIGHT_IN_TRAINING / (processes if config.parallel == "fsdp" else 1)
    batch = training.batch_size * (_BYTES_OF_PLAN + _BYTES_OF_PIECES + _BYTES_OF_TOKENS)
    at_once = training.batch_size / training.gradient_accumulation / processes
    kept = at_once * _LEAST_TOKENS * _kept_per_token(config.model)
    evaluated = len(evaluation.cohorts) * evaluation.biographies * _BYTES_OF_TOKENS
    logits = min(evaluation.batch_size, evaluation.biographies) * _VALUE_TOKENS * _LEAST_VOCABULARY[config.tokenizer]
    return _population(config) + weights + batch + kept + evaluated + logits * _WEIGHT


def _dataset(config: RunConfig) -> float:
    dataset = config.dataset
    rows = min(dataset.rows_per_group, max(dataset.train, dataset.validation, dataset.unseen))
    batch = config.training.batch_size * _BYTES_OF_PLAN
    planned = (dataset.validation + dataset.unseen) * _BYTES_OF_PLAN  # at once, unlike those of training
    return _population(config) + batch + planned + rows * (_BYTES_OF_PLAN + _BYTES_OF_PIECES)


def _population(config: RunConfig) -> float:
    return sum(config.population.sizes.values()) * _BYTES_PER_PERSON


def _parameters(config: RunConfig) -> int:
    model = config.model
    if model.moe is not None and isinstance(model.moe.layers, list):  # with fewer layers, some would be lacking
        number = len([layer for layer in model.moe.layers if layer < model.num_layers])
        model = replace(model, moe=replace(model.moe, layers=list(range(number)) or "every_second"))
    return parameter_counts(model, _LEAST_VOCABULARY[config.tokenizer]).total


def _kept_per_token(model: ModelConfig) -> float:
    """Bytes that the backward pass needs of each token: what enters the blocks of a layer and what mixes positions."""
    return 2 * model.num_layers * (2 * model.d_model + 2 * model.num_heads * model.d_head)


def check_memory(need: Need, limit: float | None = None) -> None:
    """Raise ``UserError`` when more is needed than ``limit`` bytes, by default the memory that there is."""
    limit = memory_here() if limit is None else limit
    if need.num_bytes > limit:
        needed, there = readable(need.num_bytes), readable(limit)
        raise UserError(f"this needs at least {needed} of memory, and {there} are here; lower {need.setting}")


@contextmanager
def out_of_memory_explained(need: Need) -> Iterator[None]:
    """A context in which running out of memory becomes a ``UserError`` that says which setting to lower first."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory ({first_line(error)}); lower {need.setting} first") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a CPU or another device; torch has several types and texts for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in ("allocate memory", "out of memory"))


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def memory_here() -> float:
    """The memory in bytes that this process may use: the machine's, or less if a container or ulimit says so."""
    limits = [psutil.virtual_memory().total + psutil.swap_memory().total]
    for path in map(Path, _LIMITS_OF_CONTAINERS):
        text = path.read_text().strip() if path.exists() else ""
        limits += [int(text)] if text.isdecimal() else []
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(limits) if soft == resource.RLIM_INFINITY else min(*limits, soft)


def readable(num_bytes: float) -> str:
    """A number of bytes with its unit."""
    units = ("bytes", "kB", "MB", "GB", "TB", "PB")
    power = next((power for power in range(len(units)) if num_bytes < 1000 ** (power + 1)), len(units) - 1)
    amount = num_bytes / 1000**power
    return f"{amount:,.0f} {units[power]}" if amount >= 1000 else f"{amount:.3g} {units[power]}"
