"""Where a run is kept. The same config always leads to the same directory."""

from pathlib import Path

from moefacts.config.identity import digest, identity
from moefacts.config.loader import read_config
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.runs import layout


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
    """The name of a run whose config does not give one."""
    return f"{_readable_part(config)}{digest(config)}"


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


def _readable_part(config: RunConfig) -> str:
    return f"{config.model.preset}-n{config.population.size}-seed{config.seed}-"
