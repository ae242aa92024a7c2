"""Presets and overrides: compose a configuration from them, and find the overrides that lead to a configuration."""

import copy
import dataclasses
import functools
import re
from collections.abc import Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from moefacts.config.fields import config_fields, config_keys
from moefacts.config.loader import checked_config, load_config, typed_values, unknown_key
from moefacts.config.overrides import as_typed, parse, value_text
from moefacts.config.preset_files import CONFIG_MODULE, CONFIG_NAME, GROUPS, preset_names
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError, nearest


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration that Hydra composes from ``overrides``.

    Raises:
        UserError: an override is wrong.
    """
    typed = as_typed(overrides)
    try:
        quick = _with_values_set(typed)
        return load_config(_composed(typed)) if quick is None else quick
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, overrides) from None


def _composed(overrides: Sequence[str]) -> DictConfig:
    if GlobalHydra.instance().is_initialized():
        return hydra.compose(CONFIG_NAME, overrides=list(overrides))
    with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        return hydra.compose(CONFIG_NAME, overrides=list(overrides))


def _with_values_set(overrides: Sequence[str]) -> RunConfig | None:
    """The configuration, if all that ``overrides`` do is to choose presets and to set settings; else None.

    Hydra takes a fifth of a second for it, most of which goes into reading the presets: here it reads them once. What
    is wrong with a value is left to Hydra to say.
    """
    plain = [one for one in map(parse, overrides) if one is not None and _is_plain(one)]
    if len(plain) < len(overrides):
        return None
    chosen = tuple(text for text, one in zip(overrides, plain, strict=True) if one.key_or_group in GROUPS)
    try:
        config = copy.deepcopy(_presets(chosen, _sources()))
        for one in plain:
            section, _, _ = one.key_or_group.rpartition(".")
            if section and OmegaConf.select(config, section) is None:
                return None  # a section that is off
            if one.key_or_group not in GROUPS:
                OmegaConf.update(config, one.key_or_group, one.value())
        return checked_config(OmegaConf.to_object(config))
    except (OmegaConfBaseException, OverflowError, ValueError, RecursionError):
        return None


def _is_plain(override: Override) -> bool:
    """Whether an override does nothing but choose a preset or set a setting to a value of the kind that it has."""
    kinds = (override.is_add(), override.is_force_add(), override.is_delete(), override.is_sweep_override())
    if any(kinds) or override.package is not None:
        return False
    if override.key_or_group in GROUPS:
        return True
    kind, value = _kinds().get(override.key_or_group), override.value()
    if kind is None or isinstance(value, dict) or "${" in str(value):
        return False
    return kind is not bool or isinstance(value, bool)


@functools.cache
def _kinds() -> dict[str, object]:
    return {key: field.type for key, field in config_fields(RunConfig)}


@functools.cache
def _presets(chosen: tuple[str, ...], sources: tuple[str, ...]) -> DictConfig:
    return typed_values(_composed(chosen))


def _sources() -> tuple[str, ...]:
    """Where presets are looked for, if that is not only in the package."""
    if not GlobalHydra.instance().is_initialized():
        return ()
    return tuple(str(entry.path) for entry in GlobalHydra.instance().config_loader().get_search_path().get_path())


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
    own = re.search(r"No match in the defaults list.*use (\+[^\s]+)", text, re.DOTALL)
    if own:
        return UserError(f"a file of your own is added with a plus sign: {own[1]}")
    if missing and missing[1] == "hydra/launcher":
        ways = "use joblib, or install another with pip install -e '.[slurm]' or '.[ray]'"
        return UserError(f"there is no launcher '{missing[2]}' here; {ways}")
    available = re.search(r"Available options in '[^']*':\n((?:\t.*\n)+)", text)
    if missing and available:
        return UserError(f"there is no {missing[1]} '{missing[2]}'; {nearest(missing[2], available[1].split())}")
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
