"""Read the overrides of a grid's runs."""

from moefacts.config.overrides import parse


def parsed(override: str):
    """The key and the value of an override. It must set an existing setting, as all overrides of grids do."""
    parsed = parse(override)
    assert parsed is not None
    assert not any((parsed.is_add(), parsed.is_force_add(), parsed.is_delete(), parsed.is_sweep_override())), override
    return parsed.key_or_group, parsed.value()
