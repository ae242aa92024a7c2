"""The presets that the package has, as files. Commands that only name settings need nothing that composes them."""

from importlib import resources
from typing import Any

import yaml

CONFIG_MODULE, CONFIG_NAME = "moefacts.conf", "config"
GROUPS = ("scale", "model")
_OF_GROUPS = ("scale", "model.preset")  # settings that say which preset was chosen
_A_MIXTURE = "moe_laptop"


def preset_names(group: str) -> list[str]:
    """The presets of a configuration group."""
    folder = resources.files(CONFIG_MODULE).joinpath(group)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def settings_as_text(scale: str = "laptop", model: str | None = None) -> dict[str, str]:
    """Every setting that can be set, as a dotted key, with the value that it has in these presets as a file spells it.

    Args:
        scale: a preset of scales.
        model: a preset of models; None for that of the scale. A dense one has the settings of a mixture, too.
    """
    base, of_scale = (dict(_file(name)) for name in (CONFIG_NAME, f"scale/{scale}"))
    default = next((one["override /model"] for one in of_scale.pop("defaults") if "override /model" in one), None)
    found: dict[str, str] = {}
    for values in (base, of_scale, {"model": _model(_A_MIXTURE)}, {"model": _model(model or default or _A_MIXTURE)}):
        found |= _dotted(values)
    return {
        key: value
        for key, value in found.items()
        if key not in (*_OF_GROUPS, "model.moe") and key.partition(".")[0] not in ("defaults", "hydra")
    }


def _model(name: str) -> dict[str, Any]:
    """The settings of a preset of models, with those of the presets that it is based on."""
    values = dict(_file(f"model/{name}"))
    found: dict[str, Any] = {}
    for other in values.pop("defaults", []):
        found |= {} if other == "_self_" else _model(other)
    return found | values


def _file(name: str) -> dict[str, Any]:
    """A file of the package; every value is text."""
    text = resources.files(CONFIG_MODULE).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.load(text, Loader=yaml.CBaseLoader)
    return values


def _dotted(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            found |= _dotted(value, f"{key}.")
        else:
            found[key] = f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
    return found
