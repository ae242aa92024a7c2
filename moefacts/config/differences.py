"""How the settings of several runs differ, in short words: ``preset=moe_laptop, learning_rate=0.003``."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from moefacts.config.identity import NOT_IDENTITY, is_of

PRESET = "model.preset"
_UNLABELLED = ("init", "population.cohorts", "evaluation", "training.stop_after_plateau")

Settings = Mapping[str, Any]  # dotted keys -> values


def as_dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys, without those that do not determine what a run computes.

    >>> as_dotted({"seed": 1, "run": {"dir": "x"}, "model": {"preset": "dense_laptop", "moe": None}})
    {'seed': 1, 'model.preset': 'dense_laptop', 'model.moe': None}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if key not in NOT_IDENTITY:  # nor what lies in it: sections come before their settings
            found |= as_dotted(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return found


def what_differs(described: Sequence[Settings], but: Collection[str] = ()) -> list[str]:
    """For each of ``described`` the settings in which not all are equal, except those of ``but``; "" if there are none.

    Beside a preset, what follows from it and what is off is not said. What a fine-tuned run started from, which cohorts
    there are, how they are evaluated, and when a run ends after its plateau, is said only if some would be described
    alike without it.
    """
    keys = sorted({key for values in described for key in values} - set(but))
    varying = [key for key in keys if len({repr(values.get(key)) for values in described}) > 1]
    others = [key for key in varying if not is_of(key, _UNLABELLED)]
    if len({words(own, others) for own in described}) == len({words(own, varying) for own in described}):
        varying = others
    return [_label(own, varying, described) for own in described]


def words(own: Settings, keys: Sequence[str]) -> str:
    """The settings ``keys`` with their values, by the last parts of their names where these are unambiguous."""
    short = [key.rpartition(".")[2] for key in keys]
    names = [name if short.count(name) == 1 else key for key, name in zip(keys, short, strict=True)]
    return ", ".join(f"{name}={own.get(key)}" for key, name in zip(keys, names, strict=True))


def _label(own: Settings, varying: Sequence[str], described: Sequence[Settings]) -> str:
    alike = [other for other in described if other[PRESET] == own[PRESET]]

    def is_said(key: str) -> bool:
        if key == PRESET or PRESET not in varying or not is_of(key, ["model"]):
            return True
        return bool(own.get(key)) and len({repr(other.get(key)) for other in alike}) > 1

    return words(own, sorted(filter(is_said, varying), key=lambda key: key != PRESET))
