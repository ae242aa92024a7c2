"""Overrides in Hydra's grammar: write values in it, read text as it was typed, and count the runs of a sweep.

Hydra reads ``run.study=1e3`` as the number 1000.0 and cannot read ``run.name=Bogotá`` or ``run.dir=~/x`` at all. A
setting that holds text takes them as they are.
"""

import dataclasses
import functools
import math
import re
import typing
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from moefacts.config.fields import config_fields
from moefacts.config.preset_files import GROUPS
from moefacts.config.schema import RunConfig

_OF_GRAMMAR = frozenset("'\"\\$()[]{}")  # characters with which a value says itself how it is to be read
_SAFE = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+-]*", re.ASCII)
_OTHER_THAN_TEXT = ("null", "true", "false", "nan", "inf")


def as_typed(overrides: Iterable[str]) -> list[str]:
    """The overrides, with quotes around values of text settings that Hydra would not read as this text."""
    return [_as_typed(override) for override in overrides]


def _as_typed(override: str) -> str:
    key, _, value = override.partition("=")
    if key.lstrip("+") not in _text_keys() or not value or _OF_GRAMMAR & set(value):
        return override
    return f"{key}={','.join(_text(part, key in GROUPS) for part in value.split(','))}"


def _text(value: str, is_name: bool) -> str:
    parsed = parse(f"key={value}")
    if parsed is None:
        return quoted(value)
    is_other = isinstance(parsed.value(), (int, float)) or (is_name and parsed.value() is None)
    return quoted(value.strip()) if is_other else value


@functools.cache
def _text_keys() -> frozenset[str]:
    return frozenset(
        {
            *GROUPS,
            *(key for key, field in config_fields(RunConfig) if str in (field.type, *typing.get_args(field.type))),
        }
    )


@functools.cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


@functools.lru_cache(4096)
def parse(override: str) -> Override | None:
    """The override as Hydra reads it; None if it cannot. Nobody may change it."""
    try:
        return _parser().parse_override(override)
    except (HydraException, ValueError):
        return None


def num_runs(overrides: Iterable[str]) -> float:
    """How many runs Hydra's own sweeper makes of ``overrides``; an unlimited choice counts as infinitely many."""
    return math.prod(_num_values(parsed) for parsed in map(parse, overrides) if parsed and parsed.is_sweep_override())


def _num_values(override: Override) -> float:
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        return len(sweep.list)
    if isinstance(sweep, RangeSweep):
        if not sweep.step:
            return math.inf
        return max(0, math.ceil((sweep.stop - sweep.start) / sweep.step))  # type: ignore[operator]
    return math.inf if isinstance(sweep, IntervalSweep) else 1  # a glob chooses among a few presets


def quoted(text: str) -> str:
    """A text in quotes, in the grammar of Hydra's overrides: only backslashes before a quote are doubled."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + "\\'" * bool(found[2]), text) + "'"


def value_text(value: object) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value if _SAFE.fullmatch(value) and value.lower() not in _OTHER_THAN_TEXT else quoted(value)
    if isinstance(value, list):
        return f"[{','.join(map(value_text, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{value_text(part)}" for key, part in value.items()) + "}"
    return value_text(dataclasses.asdict(value)) if dataclasses.is_dataclass(value) else str(value)  # type: ignore
