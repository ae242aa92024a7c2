"""The identity of a run: the settings that determine its result. Two configs with the same identity give one result."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from moefacts.config.fields import neutral_value
from moefacts.config.schema import RunConfig

# Settings that say where a run is kept, how fast it is, or which preset it came from, but not what it computes.
NOT_IDENTITY = ("scale", "device", "run", "wandb", "threads", "parallel", "dataset", "init.run")
_ALWAYS = ("part_of", "start", "stop")  # of a named cohort; the first identities with cohorts held neutral values, too


def is_of(key: str, sections: Iterable[str]) -> bool:
    """Whether a dotted key is one of ``sections`` or lies in one.

    >>> is_of("run.root", ["run"]), is_of("init.step", ["init.run"])
    (True, False)
    """
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def identity(config: RunConfig) -> dict[str, Any]:
    """The settings that determine what a run computes, without those that are off.

    A setting at its neutral value, which is its default in the dataclass, is left out. So a setting that a later
    version adds does not change the identity of a run that leaves it off.
    """
    return _set_values(config)


def _set_values(section: Any, prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(section):
        value, key = getattr(section, field.name), f"{prefix}{field.name}"
        if key in NOT_IDENTITY:
            continue
        if dataclasses.is_dataclass(value):
            inner = _set_values(value, f"{key}.")
            if inner:
                values[field.name] = inner
        elif value != neutral_value(field):
            values[field.name] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: {name: getattr(part, name) for name in _ALWAYS} | _set_values(part) for key, part in value.items()}
    return value


def digest(config: RunConfig) -> str:
    """The first eight hexadecimal digits of a hash of the identity."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:8]
