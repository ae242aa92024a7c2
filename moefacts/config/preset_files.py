"""The presets that the package has, as files. Commands that only name them need nothing that composes them."""

from importlib import resources

CONFIG_MODULE, CONFIG_NAME = "moefacts.conf", "config"
GROUPS = ("scale", "model")


def preset_names(group: str) -> list[str]:
    """The presets of a configuration group."""
    folder = resources.files(CONFIG_MODULE).joinpath(group)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
