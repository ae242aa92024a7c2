"""Where a run is kept: the same config always leads to the same directory."""

from pathlib import Path

from moefacts.config.identity import digest, identity
from moefacts.config.loader import read_config
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.runs import layout


def run_directory(config: RunConfig) -> Path:
    """Where the run is kept, or will be.

    A name is made of the config's identity. A run that an earlier version named otherwise is found where it is.
    """
    if config.run.dir is not None:
        return Path(config.run.dir)
    study = Path(config.run.root) / config.run.study
    if config.run.name is not None:
        return study / config.run.name
    path = study / run_name(config)
    return path if path.exists() else next(iter(runs_of(config, study)), path)


def run_name(config: RunConfig) -> str:
    """The name that a run gets when its config gives it none."""
    return f"{_readable_part(config)}{digest(config)}"


def runs_of(config: RunConfig, *studies: Path) -> list[Path]:
    """The run directories in these folders whose config has the identity of ``config``, whatever their names end in."""
    wanted = identity(config)
    found = []
    for path in (path for study in studies for path in sorted(study.glob(f"{_readable_part(config)}*"))):
        try:
            if identity(read_config(path / layout.CONFIG)) == wanted:
                found.append(path)
        except (UserError, NotADirectoryError):
            continue
    return found


def _readable_part(config: RunConfig) -> str:
    return f"{config.model.preset}-n{config.population.size}-seed{config.seed}-"
