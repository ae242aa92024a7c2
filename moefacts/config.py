"""The one description of a run, and the one strict way to load it. Nothing past this file sees a DictConfig."""

import dataclasses
import difflib
import hashlib
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from moefacts.errors import UserError, check_at_least, check_choice
from moefacts.models.architecture import ModelConfig
from moefacts.synthetic_data.distribution import SamplingConfig
from moefacts.synthetic_data.population import PopulationConfig
from moefacts.synthetic_data.tokenizer import TOKENIZERS
from moefacts.training.config import CheckpointConfig, EvaluationConfig, PatchingConfig, TrainingConfig, WandbConfig

DEVICES = ("auto", "cpu", "cuda")
PARALLEL = ("ddp", "fsdp")
# What changes where a run is kept or how fast it goes, but not what it computes.
_NOT_IDENTITY = ("run", "wandb", "threads", "parallel", "dataset")


@dataclass
class RunLocation:
    """Where a run is kept: ``dir``, or ``root``/``study``/``name``; the name is made from the config when null."""

    root: str
    study: str
    name: str | None
    dir: str | None


@dataclass
class DatasetConfig:
    """How many biographies ``moefacts generate`` writes, and how many at a time."""

    train: int
    validation: int
    unseen: int
    rows_per_group: int

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        for key in ("train", "validation", "unseen", "rows_per_group"):
            check_at_least(f"dataset.{key}", getattr(self, key), 1)


@dataclass
class RunConfig:
    """Everything that determines a run."""

    scale: str
    seed: int
    device: str
    threads: int
    parallel: str
    tokenizer: str
    population: PopulationConfig
    sampling: SamplingConfig
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    checkpoints: CheckpointConfig
    dataset: DatasetConfig
    wandb: WandbConfig
    run: RunLocation
    patching: PatchingConfig = dataclasses.field(default_factory=PatchingConfig)

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        check_choice("device", self.device, DEVICES)
        check_choice("parallel", self.parallel, PARALLEL)
        check_choice("tokenizer", self.tokenizer, TOKENIZERS)
        check_at_least("threads", self.threads, 1)
        check_at_least("seed", self.seed, 0)
        if self.seed >= 1 << 63:
            raise UserError(f"seed={self.seed} is too large; it must be below 2**63")
        if self.run.dir == "" or self.run.root == "":
            raise UserError("run.dir and run.root must not be empty; leave them out for the default")
        for key in ("study", "name"):
            value = getattr(self.run, key)
            if value is not None and (value in ("", ".", "..") or "/" in value):
                raise UserError(f"run.{key}={value} must be the name of one folder; run.dir takes a path")
        parts = (self.population, self.training, self.evaluation, self.checkpoints, self.dataset, self.wandb)
        for part in (*parts, self.patching):
            part.check()
        self._check_patching()
        self.sampling.check(self.population.size, self.training.steps)
        try:
            self.model.check()
        except ValueError as error:
            raise UserError(str(error)) from None

    def _check_patching(self) -> None:
        if not self.patching.is_on:
            return
        if self.model.mixer != "attention":
            raise UserError(f"patching needs attention to patch; model.mixer={self.model.mixer} has none")
        if self.training.compile:
            raise UserError("patching does not go with training.compile=true; set training.compile=false")


def load_config(values: Any) -> RunConfig:
    """Check ``values`` (a mapping or a DictConfig) against ``RunConfig`` and convert it.

    Raises:
        UserError: a key is unknown (naming the nearest), missing, or of the wrong type or range.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RunConfig), values)
        config = OmegaConf.to_object(merged)
    except ConfigKeyError as error:
        raise unknown_key(str(error.full_key)) from None
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value; it must be given") from None
    except OmegaConfBaseException as error:
        hint = "; write a whole number, such as 1000" if "to Integer" in str(error) else ""
        raise UserError(f"{error.full_key}: {str(error.msg or error).splitlines()[0]}{hint}") from None
    assert isinstance(config, RunConfig)
    config.check()
    return config


def unknown_key(key: str) -> UserError:
    """The error for a key that does not exist, naming the nearest that do."""
    keys = set(config_keys(RunConfig))
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [known for known in keys if known.rsplit(".", 1)[-1] == leaf]
    initials = [k for k in keys if leaf == "".join(word[0] for word in k.rsplit(".", 1)[-1].split("_"))]  # lr, wd
    likely = sorted(same_leaf) or sorted(initials) or difflib.get_close_matches(key, keys, n=3, cutoff=0.6)
    hint = "did you mean " + " or ".join(likely) + "?" if likely else "`moefacts train --cfg job` shows them all"
    return UserError(f"there is no setting '{key}'; {hint}")


def config_keys(schema: Any, prefix: str = "") -> Iterator[str]:
    """Every setting of ``schema`` as a dotted key."""
    for field in dataclasses.fields(schema):
        options = (field.type, *typing.get_args(field.type))
        part = next((option for option in options if dataclasses.is_dataclass(option)), None)
        if part is not None:
            yield from config_keys(part, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def read_config(path: Path) -> RunConfig:
    """Load a resolved config file.

    Raises:
        UserError: the file is missing or is not the config of a run.
    """
    try:
        values = OmegaConf.load(path)
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a run directory: it has no {path.name}") from None
    except Exception as error:  # a YAML library's own errors: whatever they are, the file is not a config
        raise UserError(f"{path} cannot be read as a config: {str(error).splitlines()[0]}") from None
    try:
        return load_config(values)
    except UserError as error:
        raise UserError(f"{path} is not a moefacts config: {error}") from None


def config_yaml(config: RunConfig) -> str:
    """The resolved config as YAML; ``read_config`` reads it back."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def identity(config: RunConfig) -> dict[str, Any]:
    """The part of the config that determines what a run computes."""
    values = dataclasses.asdict(config)
    left_out = _NOT_IDENTITY if config.patching.is_on else (*_NOT_IDENTITY, "patching")
    return {key: value for key, value in values.items() if key not in left_out}


def run_directory(config: RunConfig) -> Path:
    """Where the run is kept. The same config always gives the same path."""
    if config.run.dir is not None:
        return Path(config.run.dir)
    digest = hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:8]
    name = config.run.name or f"{config.model.preset}-n{config.population.size}-seed{config.seed}-{digest}"
    return Path(config.run.root) / config.run.study / name
