"""The configuration of a run that starts from another run's weights: the other run's, with what fine-tuning changes."""

import dataclasses
from pathlib import Path
from typing import Any

from moefacts.config.fields import config_fields
from moefacts.config.finetuning import RATE_OVER, finetuning_defaults
from moefacts.config.identity import digest, is_of
from moefacts.config.loader import load_config
from moefacts.config.methods import MethodConfig
from moefacts.config.overrides import value_text
from moefacts.config.preset_files import preset_names
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.synthetic_data.cohorts import NEW, SEEN, UNSEEN, CohortConfig
from moefacts.synthetic_data.distribution_kinds import SamplingConfig
from moefacts.training.initial import read_source

_NOT_KEPT = ("scale", "run", "wandb", "device", "threads", "parallel", "dataset")  # the user's, not the other run's
_AS_IN_TRAINING = ("templates_per_individual", "shuffle_sentences")


def finetuning_overrides(run: Path, step: int | None = None, num_new: int | None = None) -> list[str]:
    """Overrides that compose to the configuration of fine-tuning ``run``, before the user's own.

    Args:
        run: the directory of the run to start from.
        step: its checkpoint; None means the newest.
        num_new: how many of its new people are learned; None means all.

    Raises:
        UserError: the run cannot be started from, or it has fewer new people.
    """
    source, step = read_source(run, step)
    config = dataclasses.replace(
        source.config,
        sampling=_neutral_sampling(source.config.sampling),
        training=dataclasses.replace(source.config.training, method="full", freeze=[], start_penalty=None),
        method=MethodConfig(),
    )
    values = {key: value for key, value in _values(config).items() if not is_of(key, _NOT_KEPT)}
    values |= finetuning_defaults()
    values["training.learning_rate"] = config.training.learning_rate / RATE_OVER
    values["evaluation.cohorts"] = []  # see ``complete``
    values |= {"init.run": str(run), "init.step": step, "init.source": digest(source.config)}
    if num_new is not None:
        name, most = f"{NEW}_{num_new}", config.population.new
        if not 1 <= num_new <= most:
            raise UserError(f"--new {num_new} must lie between 1 and {most}, the number of new people of {run}")
        cohorts = {**(config.population.cohorts or {}), name: CohortConfig(NEW, 0, num_new)}
        values |= {"population.cohorts": cohorts, "sampling.cohort": name}
    scale = [f"scale={config.scale}"] if config.scale in preset_names("scale") else []
    return [*scale, *(f"++{key}={value_text(value)}" for key, value in values.items()), "run.study=finetune"]


def complete(values: Any) -> RunConfig:
    """The configuration that Hydra composed, with all cohorts to evaluate unless the user chose some.

    Raises:
        UserError: a value is wrong.
    """
    if not values.evaluation.cohorts:
        learned, named = values.sampling.cohort, values.population.cohorts or {}
        values.evaluation.cohorts = list(dict.fromkeys([learned, SEEN, UNSEEN, *map(str, named)]))
    return load_config(values)


def _neutral_sampling(sampling: SamplingConfig) -> SamplingConfig:
    return SamplingConfig(**{key: getattr(sampling, key) for key in _AS_IN_TRAINING})


def _values(config: RunConfig) -> dict[str, Any]:
    """Every setting by its dotted key; an optional section that is off is one setting, null."""
    values: dict[str, Any] = {}
    for key, _ in config_fields(RunConfig):
        value: Any = config
        for place, part in enumerate(parts := key.split(".")):
            value = getattr(value, part)
            if value is None:
                key = ".".join(parts[: place + 1])
                break
        values[key] = value
    return values
