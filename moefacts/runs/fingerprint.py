"""Whether the settings that a run stores still describe the people that it was trained on."""

import shlex
from operator import attrgetter
from pathlib import Path
from typing import Any

from moefacts.config.loader import config_keys
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.synthetic_data.population import build_population


def check_population(run: Path, config: RunConfig, manifest: dict[str, Any]) -> None:
    """Refuse a run whose population is not the one whose fingerprint its manifest holds.

    Args:
        run: the run directory.
        config: the settings that it stores.
        manifest: its manifest. Without a fingerprint, the run has not begun to train.

    Raises:
        UserError: the two differ; the message names the settings that were edited.
    """
    recorded = manifest.get("population_fingerprint")
    try:
        if recorded is None or recorded == _fingerprint(config):
            return
    except UserError as error:  # there is no such population
        raise UserError(f"{run / layout.CONFIG}: {error}") from None
    edited = _edited(config, manifest.get("command"), recorded)
    if edited:
        now, before = (
            ", ".join(f"{key}={values[which]}" for key, values in edited.items()) for which in ("now", "before")
        )
        raise UserError(
            f"{run / layout.CONFIG} has {now}, but the run was trained with {before}, on other people (their "
            f"fingerprint in {layout.MANIFEST} differs); write {before} there again"
        )
    raise UserError(
        f"{run} was trained on other people than its seed and population.* describe now (their fingerprint in "
        f"{layout.MANIFEST} differs): either {layout.CONFIG} was edited, or this version of moefacts has other pools"
    )


def same_people(config: RunConfig, manifest: dict[str, Any]) -> bool:
    """Whether the people of ``config`` are those of the run with this manifest.

    Raises:
        UserError: there is no such population.
    """
    return bool(_fingerprint(config) == manifest.get("population_fingerprint"))


_FINGERPRINTS: dict[str, str] = {}  # settings -> fingerprint, because studies read each of their runs several times


def _fingerprint(config: RunConfig) -> str:
    key = repr((config.population, config.seed))
    if key not in _FINGERPRINTS:
        _FINGERPRINTS[key] = build_population(config.population, config.seed).fingerprint
    return _FINGERPRINTS[key]


def _edited(config: RunConfig, command: Any, recorded: str) -> dict[str, dict[str, Any]]:
    """Setting -> its value now and before, for those of the population that differ from the command of the run.

    It is empty when the command does not lead to the people with the recorded fingerprint.
    """
    from moefacts.config.presets import compose  # loads Hydra, which readers of intact runs do not need

    try:
        trained = compose(shlex.split(str(command))[2:])
        if _fingerprint(trained) != recorded:
            return {}
    except (UserError, ValueError):
        return {}
    keys = [key for key in config_keys(RunConfig) if key == "seed" or key.startswith("population.")]
    values = {key: {"now": attrgetter(key)(config), "before": attrgetter(key)(trained)} for key in keys}
    return {key: pair for key, pair in values.items() if pair["now"] != pair["before"]}
