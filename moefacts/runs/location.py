"""Where a run is kept. The same config always leads to the same directory."""

import dataclasses
import re
from pathlib import Path

from moefacts.config.differences import as_dotted
from moefacts.config.identity import digest, identity, is_of
from moefacts.config.loader import read_config
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.runs import layout

_BY_HAND = "train"
_IN_NAME = ("seed", "population.size", "model.preset", "population.cohorts")  # or too long for it
# Sections by how much they tell. Where weights come from, and what a run may only be slower for, would say little.
_TELLING = (
    "training",
    "sampling",
    "method",
    "uncertainty",
    "model",
    "patching",
    "population",
    "tokenizer",
    "evaluation",
)
_MOST_SAID, _LONGEST = 3, 30  # settings in a name, and characters of one


def run_directory(config: RunConfig) -> Path:
    """The directory of a run, whether or not it exists yet.

    The name is made from the config's identity. A run that an earlier version named differently is found under its
    old name.
    """
    if config.run.dir is not None:
        return Path(config.run.dir)
    study = Path(config.run.root) / config.run.study
    if config.run.name is not None:
        return study / config.run.name
    path = study / run_name(config)
    return path if path.exists() else next(iter(runs_of(config, study)), path)


def run_name(config: RunConfig) -> str:
    """The name of a run whose config does not give one.

    In the folder of ``moefacts train``, where runs of all kinds come together, it says in which settings the run
    differs from its presets. In a study's folder the grid says what differs.
    """
    said = _what_is_unusual(config) if config.run.study == _BY_HAND else ()
    return f"{_readable_part(config)}{''.join(f'{part}-' for part in said)}{digest(config)}"


def runs_of(config: RunConfig, *studies: Path) -> list[Path]:
    """The run directories in the folders ``studies`` whose config has the same identity as ``config``."""
    wanted = identity(config)
    found = []
    for path in (path for study in studies for path in sorted(study.glob(f"{_readable_part(config)}*"))):
        try:
            if identity(read_config(path / layout.CONFIG)) == wanted:
                found.append(path)
        except (UserError, NotADirectoryError):
            continue
    return found


def _what_is_unusual(config: RunConfig) -> list[str]:
    """The settings that differ from those of the presets, the most telling ones first; none if those are not known."""
    from moefacts.config.overrides import value_text  # both take long to import
    from moefacts.config.presets import compose

    try:
        presets = compose([f"scale={value_text(config.scale)}", f"model={value_text(config.model.preset)}"])
    except UserError:
        return []  # presets of the user's own
    own, usual = (as_dotted(dataclasses.asdict(one)) for one in (config, presets))
    differing = [key for key in own if own[key] != usual.get(key) and not is_of(key, _IN_NAME)]
    keys = [key for key in differing if key.partition(".")[0] in _TELLING]
    keys.sort(key=lambda key: _TELLING.index(key.partition(".")[0]))
    more = [f"and_{len(keys) - _MOST_SAID}_more"] if len(keys) > _MOST_SAID else []
    return [_as_name(f"{key.rpartition('.')[2]}_{own[key]}") for key in keys[:_MOST_SAID]] + more


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+]+", "_", text)[:_LONGEST].strip("_")


def _readable_part(config: RunConfig) -> str:
    return f"{config.model.preset}-n{config.population.size}-seed{config.seed}-"
