"""How much memory a task needs at least, by setting, to refuse at once what cannot fit. Imports no torch.

The numbers are lower bounds: what certainly exists at the same time. So nothing that works is refused, and what fails
all the same, because it needs a few times as much, still gets an error that says what to lower.
"""

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

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
_MODEL_SIZES = ("num_layers", "d_model", "num_heads", "d_head", "d_hidden")
_EXPERT_SIZES = ("num_experts", "d_expert", "num_shared")

Needs = Mapping[str, float]  # setting to lower -> bytes that it decides about


def needs_of_training(config: RunConfig, processes: int = 1) -> Needs:
    """What training needs, in the process that needs most."""
    training, evaluation = config.training, config.evaluation
    sharded = processes if config.parallel == "fsdp" else 1
    at_once = training.batch_size / training.gradient_accumulation / processes
    kept = _LEAST_TOKENS * _kept_per_token(config.model)
    vocabulary = _LEAST_VOCABULARY[config.tokenizer]
    evaluated = min(evaluation.batch_size, evaluation.biographies)
    return {
        **_population(config),
        _model_setting(config): _parameters(config) * _WEIGHT_IN_TRAINING / sharded,
        "training.batch_size": training.batch_size * (_BYTES_OF_PLAN + _BYTES_OF_PIECES + _BYTES_OF_TOKENS)
        + at_once * kept,
        "evaluation.batch_size": evaluated * _VALUE_TOKENS * vocabulary * 4,
        "evaluation.biographies": len(evaluation.cohorts) * evaluation.biographies * _BYTES_OF_TOKENS,
    }


def needs_of_reading(config: RunConfig) -> Needs:
    """What a trained model needs that answers questions."""
    return {**_population(config), _model_setting(config): _parameters(config) * _WEIGHT}


def needs_of_dataset(config: RunConfig) -> Needs:
    """What writing a dataset needs."""
    dataset = config.dataset
    rows = min(dataset.rows_per_group, max(dataset.train, dataset.validation, dataset.unseen))
    return {
        **_population(config),
        "training.batch_size": config.training.batch_size * _BYTES_OF_PLAN,
        "dataset.rows_per_group": rows * (_BYTES_OF_PLAN + _BYTES_OF_PIECES),
    }


def _population(config: RunConfig) -> Needs:
    sizes = {key: getattr(config.population, key) for key in ("size", "unseen", "new")}
    return {f"population.{max(sizes, key=lambda key: sizes[key])}": sum(sizes.values()) * _BYTES_PER_PERSON}


def _parameters(config: RunConfig) -> int:
    return parameter_counts(config.model, _LEAST_VOCABULARY[config.tokenizer]).total


def _model_setting(config: RunConfig) -> str:
    """The size of the model that decides most about its number of parameters."""
    model, moe, smaller = config.model, config.model.moe, {}
    for key in _MODEL_SIZES:
        smaller[f"model.{key}"] = _everywhere(replace(model, **{key: 1}))  # type: ignore[arg-type]
    if moe is not None:
        for key in _EXPERT_SIZES:
            few = replace(moe, experts_per_token=1, **{key: 1})
            smaller[f"model.moe.{key}"] = _everywhere(replace(model, moe=few))
    return min(smaller, key=lambda key: _parameters(replace(config, model=smaller[key])))


def _everywhere(model: ModelConfig) -> ModelConfig:
    """The model with its mixtures in all layers, because a model of one layer lacks numbered ones."""
    return model if model.moe is None else replace(model, moe=replace(model.moe, layers="all"))


def _kept_per_token(model: ModelConfig) -> float:
    """Bytes that the backward pass needs of each token: what enters the blocks of a layer and what mixes positions."""
    return 2 * model.num_layers * (2 * model.d_model + 2 * model.num_heads * model.d_head)


def check_memory(needs: Needs, limit: float | None = None) -> None:
    """Raise ``UserError`` when the parts need more bytes than ``limit``, by default the memory that there is."""
    limit = memory_here() if limit is None else limit
    total = sum(needs.values())
    if total > limit:
        key = _largest(needs)
        raise UserError(
            f"this needs at least {readable(total)} of memory, and {readable(limit)} are here; "
            f"lower {key}, which decides about {readable(needs[key])} of it"
        )


@contextmanager
def out_of_memory_explained(needs: Needs) -> Iterator[None]:
    """A context in which running out of memory becomes a ``UserError`` that says which setting to lower first."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory ({first_line(error)}); lower {_largest(needs)} first") from error


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


def _largest(needs: Needs) -> str:
    return max(needs, key=lambda key: needs[key])
