"""The one strict way to turn values, or a file, into a ``RunConfig``. Code after this never sees a DictConfig."""

import copy
import dataclasses
import difflib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from moefacts.config.fields import config_keys, section_of, with_neutral_values
from moefacts.config.schema import RunConfig
from moefacts.config.upgrades import CURRENT_FORMAT, FORMAT, upgraded
from moefacts.config.values import check_types, check_values
from moefacts.errors import UserError

_MOST_BYTES, _DEEPEST = 1 << 20, 32  # a stored config has a few thousand bytes and five levels


def load_config(values: Any) -> RunConfig:
    """Check ``values`` (a mapping or a DictConfig) against ``RunConfig`` and convert it. ``~`` in paths is expanded.

    Raises:
        UserError: a key is unknown (naming the nearest), missing, or of the wrong type or range.
    """
    try:
        config = OmegaConf.to_object(typed_values(values))
    except ConfigKeyError as error:
        raise _misplaced(str(error.full_key), values) or unknown_key(str(error.full_key)) from None
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value; it must be given") from None
    except OmegaConfBaseException as error:
        hint = "; write a whole number, such as 1000" if "to Integer" in str(error) else ""
        raise UserError(f"{error.full_key}: {str(error.msg or error).splitlines()[0]}{hint}") from None
    except (OverflowError, ValueError, RecursionError) as error:  # a number that does not fit its type
        raise UserError(f"a setting cannot be read: {str(error).partition(chr(10))[0]}") from None
    return checked_config(config)


def _misplaced(key: str, values: Any) -> UserError | None:
    """The error for a file of settings below a folder's name, where Hydra puts what does not say otherwise."""
    below = values.get(key) if isinstance(values, Mapping) else None
    sections = {section.partition(".")[0] for section in config_keys(RunConfig)}
    if not isinstance(below, Mapping) or not sections.intersection(map(str, below)):
        return None
    return UserError(
        f"the settings of the file chosen with +{key}= are read as {key}.{next(iter(below))} and so on; make "
        "'# @package _global_' the first line of that file"
    )


def typed_values(values: Any) -> DictConfig:
    """``values`` as settings of the types of ``RunConfig``.

    Raises:
        UserError: a truth value is given as another number than 0 or 1.
        OmegaConfBaseException: a key is unknown, or a value of the wrong type.
    """
    check_types(RunConfig, values)
    merged = OmegaConf.merge(_schema(), values)
    assert isinstance(merged, DictConfig)
    return merged


def checked_config(config: object) -> RunConfig:
    """``config``, whose values have their types, with ``~`` in paths expanded.

    Raises:
        UserError: a value is out of its range.
    """
    assert isinstance(config, RunConfig)
    check_values(config)
    _refuse_interpolations(dataclasses.asdict(config))
    config.check()
    config.run.root = os.path.expanduser(config.run.root)
    config.run.dir = None if config.run.dir is None else os.path.expanduser(config.run.dir)
    return config


@functools.cache
def _schema() -> DictConfig:
    schema = OmegaConf.structured(RunConfig)
    assert isinstance(schema, DictConfig)
    return schema


def unknown_key(key: str) -> UserError:
    """The error for a key that does not exist; it names the nearest keys that do."""
    keys = set(config_keys(RunConfig))
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [known for known in keys if known.rsplit(".", 1)[-1] == leaf]
    initials = [k for k in keys if leaf == "".join(word[0] for word in k.rsplit(".", 1)[-1].split("_"))]  # lr, wd
    likely = sorted(same_leaf) or sorted(initials) or difflib.get_close_matches(key, keys, n=3, cutoff=0.6)
    hint = "did you mean " + " or ".join(likely) + "?" if likely else "`moefacts train --cfg job` shows them all"
    return UserError(f"there is no setting '{key}'; {hint}")


def read_config(path: Path) -> RunConfig:
    """Load a resolved config file of this version or of an earlier one.

    Raises:
        UserError: the file is missing or is not the config of a run.
    """
    try:
        return copy.deepcopy(_stored_config(_bounded_yaml(path)))
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a run directory: it has no {path.name}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # the YAML library raises many types; each means that the file is not a config
        raise UserError(f"{path} cannot be read as a config: {str(error).partition(chr(10))[0]}") from None


def read_values(path: Path) -> dict[str, Any]:
    """The settings in a file that moefacts wrote and nobody has changed since, as nested dictionaries of plain values.

    It takes a small part of the time of ``read_config``, because no value is checked. What an earlier version left out
    is filled in.

    Raises:
        UserError: a later version wrote the file.
        Exception: it holds anything but settings; of what type, depends on what is wrong.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    nested = content.count(b"[") + content.count(b"{") + max(map(_indentation, content.splitlines()))
    if b"&" in content or nested > _DEEPEST or len(content) > _MOST_BYTES:
        content = _bounded_yaml(path).encode()  # looks more closely, and takes longer
    return with_neutral_values(upgraded(yaml.load(content, Loader=yaml.CSafeLoader)), RunConfig)


def _indentation(line: bytes) -> int:
    return len(line) - len(line.lstrip())


@functools.lru_cache(4096)  # a study reads the same files again and again
def _stored_config(text: str) -> RunConfig:
    values = OmegaConf.create(text)
    if not isinstance(values, DictConfig):
        raise UserError("it holds no settings")
    plain = OmegaConf.to_container(values, resolve=False)
    _refuse_interpolations(plain)
    settings = upgraded(plain)  # type: ignore[arg-type]
    _refuse_other_sections(settings, RunConfig)
    return load_config(settings)


def _bounded_yaml(path: Path) -> str:
    """The text of a YAML file that is safe to build: a long, deep or aliased one can take hours and all memory.

    Raises:
        ValueError: it is none.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    text, depth = content.decode(), 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} has an alias; a stored config has none")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"line {event.start_mark.line + 1} is nested deeper than {_DEEPEST} levels")
    return text


def _refuse_interpolations(value: Any, key: str = "") -> None:
    """Refuse interpolations: moefacts stores none, and one could reach the environment or another key."""
    if isinstance(value, dict):
        for name, part in value.items():
            _refuse_interpolations(part, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for part in value:
            _refuse_interpolations(part, key)
    elif isinstance(value, str) and "${" in value:
        raise UserError(f"{key}={value} is an interpolation; a stored config holds values only")


def _refuse_other_sections(values: Any, schema: Any, key: str = "") -> None:
    """Refuse values of another kind where ``schema`` has a section of settings."""
    if not isinstance(values, dict):
        raise UserError(f"{key or 'it'}: got {str(values)[:40]}, expected a section of settings")
    for field in dataclasses.fields(schema):
        part = section_of(field)
        may_lack = field.type is not part  # an optional section is null when it is off
        if part is not None and field.name in values and not (may_lack and values[field.name] is None):
            _refuse_other_sections(values[field.name], part, f"{key}.{field.name}".lstrip("."))


def config_yaml(config: RunConfig) -> str:
    """The resolved config as YAML, headed by its format number; ``read_config`` reads it back."""
    return f"{FORMAT}: {CURRENT_FORMAT}\n" + OmegaConf.to_yaml(dataclasses.asdict(config))
