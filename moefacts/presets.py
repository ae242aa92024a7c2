"""Configurations by name: what overrides compose to, and which overrides lead to a configuration."""

import dataclasses
import re
from collections.abc import Sequence
from importlib import resources

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from moefacts.config import RunConfig, config_keys, load_config, unknown_key
from moefacts.errors import UserError, nearest

CONFIG_MODULE = "moefacts.conf"
CONFIG_NAME = "config"
GROUPS = ("scale", "model")


def preset_names(group: str) -> list[str]:
    """The presets of a configuration group."""
    folder = resources.files(CONFIG_MODULE).joinpath(group)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration that Hydra composes from ``overrides``.

    Raises:
        UserError: an override is wrong.
    """
    try:
        if GlobalHydra.instance().is_initialized():
            return load_config(hydra.compose(CONFIG_NAME, overrides=list(overrides)))
        with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            return load_config(hydra.compose(CONFIG_NAME, overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, overrides) from None


def overrides_of(config: RunConfig) -> list[str]:
    """The shortest overrides that compose to ``config``: its presets, then every setting that differs from theirs."""
    chosen = [f"{group}={name}" for group, name in (("scale", config.scale), ("model", config.model.preset))]
    preset = compose(chosen)
    differing = [
        f"{key}={'null' if value is None else str(value).replace(' ', '')}"
        for key in config_keys(RunConfig)
        if (value := _setting(config, key)) != _setting(preset, key)
    ]
    return chosen + differing


def _setting(config: RunConfig, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part, None)  # what belongs to an absent part is absent
    assert not dataclasses.is_dataclass(value)
    return value


def explain(error: Exception, arguments: Sequence[str]) -> UserError:
    """One line for what Hydra says in several, with the nearest setting or preset when a name is unknown."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return UserError(f"'{error.override}' is not an override; write key=value, as in population.size=2048")
    missing = re.search(r"Could not find '(\w+)/(\w+)'", text)
    if missing and missing[1] in GROUPS:
        return UserError(f"there is no {missing[1]} '{missing[2]}'; {nearest(missing[2], preset_names(missing[1]))}")
    key = re.search(r"Could not (?:override|delete|append)[^']*'([^'=@]+)", text)
    if key:
        return unknown_key(key[1])
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return UserError(f"{first.strip()} (given: {' '.join(arguments)})")
