"""Presets and overrides: compose a configuration from them, and find the overrides that lead to a configuration."""

import dataclasses
import re
from collections.abc import Sequence
from importlib import resources

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from moefacts.config.fields import config_keys
from moefacts.config.loader import load_config, unknown_key
from moefacts.config.overrides import GROUPS, as_typed, value_text
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError, nearest

CONFIG_MODULE = "moefacts.conf"
CONFIG_NAME = "config"


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
            return load_config(hydra.compose(CONFIG_NAME, overrides=as_typed(overrides)))
        with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            return load_config(hydra.compose(CONFIG_NAME, overrides=as_typed(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, overrides) from None


def overrides_of(config: RunConfig) -> list[str] | None:
    """The shortest overrides that compose to ``config``: its presets, then every setting that differs from theirs.

    Returns None when the presets are the user's own, because only the user's command line can find those.
    """
    presets = {"scale": config.scale, "model": config.model.preset}
    if any(name not in preset_names(group) for group, name in presets.items()):
        return None
    chosen = [f"{group}={name}" for group, name in presets.items()]
    preset = compose(chosen)
    overrides = chosen + [
        f"{key}={value_text(value)}"
        for key in config_keys(RunConfig)
        if (value := _setting(config, key)) != _setting(preset, key)
    ]
    try:
        return overrides if compose(overrides) == config else None
    except UserError:
        return None


def _setting(config: RunConfig, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part, None)  # the settings of an absent section are absent
    assert not dataclasses.is_dataclass(value)
    return value


def explain(error: Exception, arguments: Sequence[str]) -> UserError:
    """Turn Hydra's error of several lines into one, with the nearest setting or preset when a name is unknown."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return UserError(f"'{error.override}' is not an override; write key=value, as in population.size=2048")
        return UserError(
            f"the value in {error.override} cannot be read; put text with special characters into quotes inside the "
            f"quotes of the shell, as in \"{error.override.partition('=')[0]}='…'\""
        )
    missing = re.search(r"Could not find '([\w/]+)/([^'/]+)'", text)
    if missing and missing[1] in GROUPS:
        return UserError(f"there is no {missing[1]} '{missing[2]}'; {nearest(missing[2], preset_names(missing[1]))}")
    if missing and missing[1] == "hydra/launcher":
        ways = "use joblib, or install another with pip install -e '.[slurm]' or '.[ray]'"
        return UserError(f"there is no launcher '{missing[2]}' here; {ways}")
    key = re.search(r"Could not (?:override|delete|append)[^']*'([^'=@]+)", text)
    known = key is not None and key[1] in config_keys(RunConfig)
    if key and known and key[1].startswith("model.moe."):
        return UserError(f"this model has no {key[1]}: it has no experts; choose a mixture, such as model=moe_laptop")
    if key and not known:
        return unknown_key(key[1])
    if "Ambiguous value" in text:
        return UserError("several values for one setting mean several runs; add -m to train one run per value")
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return UserError(f"{first.strip()} (given: {' '.join(arguments)})")
