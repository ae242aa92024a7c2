"""Hydra's launchers, under the names that ``--launcher`` takes."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moefacts.errors import UserError, nearest


@dataclass(frozen=True)
class Launcher:
    """One of Hydra's launchers.

    Attributes:
        config: its name in Hydra's configuration.
        plugin: the package that provides it; None for a launcher of Hydra itself.
        extra: the extra of moefacts that installs the package; None for one that moefacts always installs.
        jobs_key: the setting that limits how many runs are active at a time; None if it runs one at a time.
        is_local: whether the runs share this machine.
    """

    config: str
    plugin: str | None = None
    extra: str | None = None
    jobs_key: str | None = None
    is_local: bool = True


LAUNCHERS = {
    "basic": Launcher("basic"),
    "joblib": Launcher("joblib", "hydra_joblib_launcher", None, "hydra.launcher.n_jobs"),
    "submitit": Launcher(
        "submitit_slurm", "hydra_submitit_launcher", "slurm", "hydra.launcher.array_parallelism", is_local=False
    ),
    "ray": Launcher("ray", "hydra_ray_launcher", "ray", "hydra.launcher.ray.init.num_cpus", is_local=False),
}


def find_launcher(name: str) -> Launcher:
    """The launcher called ``name``.

    Raises:
        UserError: there is no such launcher, or it is not installed; the message says how to install it.
    """
    if name not in LAUNCHERS:
        raise UserError(f"there is no launcher '{name}'; {nearest(name, LAUNCHERS)}")
    launcher = LAUNCHERS[name]
    if launcher.plugin and importlib.util.find_spec("hydra_plugins") is None:
        raise _not_installed(name, launcher)
    if launcher.plugin and importlib.util.find_spec(f"hydra_plugins.{launcher.plugin}") is None:
        raise _not_installed(name, launcher)
    return launcher


def _not_installed(name: str, launcher: Launcher) -> UserError:
    extra = f"[{launcher.extra}]" if launcher.extra else ""
    return UserError(f"the launcher {name} is not installed; run pip install -e '.{extra}' (see docs/scaling.md)")


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch_with_hydra(
    launcher: Launcher, jobs: int | None, settings: Sequence[str], folder: Path
) -> Callable[[Sequence[int], Callable[[int], None]], None]:
    """Make the function with which the engine starts runs: a Hydra multirun over their numbers.

    Args:
        launcher: the launcher.
        jobs: the number of runs at a time; None leaves it to the launcher.
        settings: the user's own ``hydra.…`` settings.
        folder: the folder for files that launchers write themselves, such as submitit's logs.
    """
    from moefacts.cli.hydra_bridge import run_with_hydra

    def launch(indices: Sequence[int], task: Callable[[int], None]) -> None:
        arguments = ["-m", f"+study_run={','.join(map(str, indices))}", f"hydra/launcher={launcher.config}"]
        if jobs is not None and launcher.jobs_key:
            arguments.append(f"{launcher.jobs_key}={jobs}")
        sweep_folder = str(folder.resolve()).replace("'", "\\'")
        arguments += [f"hydra.sweep.dir='{sweep_folder}'", *settings]
        run_with_hydra("moefacts reproduce", arguments, task, _run_number)

    return launch


def _run_number(values: Any) -> int:
    return int(values.study_run)
