"""Hydra's launchers by the names of ``--launcher``."""

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
        plugin: the package that brings it; None: Hydra itself.
        extra: which extra of moefacts installs that package.
        jobs_key: the setting that limits how many runs there are at a time; None: always one.
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
        UserError: there is none of this name, or it is not installed, naming the extra that installs it.
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
    return UserError(f"the launcher {name} is not installed; pip install -e '.{extra}' brings it (see docs/scaling.md)")


def num_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch_with_hydra(
    launcher: Launcher, jobs: int | None, settings: Sequence[str], folder: Path
) -> Callable[[Sequence[int], Callable[[int], None]], None]:
    """How the engine starts runs: a Hydra multirun over their numbers.

    Args:
        launcher: where they run.
        jobs: how many at a time; None: what the launcher thinks best.
        settings: the user's own ``hydra.…`` settings.
        folder: for what launchers write of their own (submitit's logs).
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
