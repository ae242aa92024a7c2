"""Run the real ``hydra.main`` behind a Typer command, so that overrides, ``-m``, ``--cfg`` and launchers all work."""

import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from math import inf
from typing import Any, NoReturn, TypeVar

from moefacts.cli.signals import signals_passed_on
from moefacts.config.loader import load_config
from moefacts.config.overrides import as_typed, num_runs
from moefacts.config.preset_files import CONFIG_MODULE, CONFIG_NAME
from moefacts.config.presets import explain
from moefacts.errors import UserError

Loaded = TypeVar("Loaded")
_MOST_RUNS = 10_000  # of one command; all are composed and checked before the first one starts


def run_with_hydra(
    program: str,
    arguments: Sequence[str],
    task: Callable[[Loaded], object],
    load: Callable[[Any], Loaded] = load_config,  # type: ignore[assignment]
    base: Sequence[str] = (),
) -> None:
    """Compose the configuration from ``arguments`` as Hydra does, and call ``task`` with it, once per job of ``-m``.

    ``load`` converts what Hydra composed into what ``task`` takes, by default a ``RunConfig``. ``base`` holds overrides
    that come before ``arguments`` and that nobody typed.

    Raises:
        UserError: an override is wrong. Errors of the task are passed on.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    # joblib warns when it replaces a worker whose memory has grown. A worker that was killed still raises an error.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
    stopped: list[Exception] = []

    def job(values: DictConfig) -> None:
        try:
            task(load(values))
        except Exception as reason:
            if HydraConfig.get().mode is not RunMode.RUN:
                raise  # with several jobs, Hydra says which one failed
            stopped.append(reason)

    parsed = parse_arguments(program, [*base, *arguments])
    saved_arguments, saved_flag = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [program, *_as_arguments(parsed)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them and exiting
    try:
        with signals_passed_on() if parsed.multirun else nullcontext():
            hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=CONFIG_NAME)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, arguments) from None
    except (ValueError, TypeError, AttributeError) as error:
        if parsed.multirun:  # it may be a job's, from another process
            raise
        raise explain(error, arguments) from None  # before the job began, it can only be about the arguments
    finally:
        sys.argv = saved_arguments
        if saved_flag is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = saved_flag
    if stopped:
        raise stopped[0]


def parse_arguments(program: str, arguments: Sequence[str]) -> Namespace:
    """Hydra's options and the overrides among ``arguments``; text is as it was typed.

    Raises:
        UserError: an option does not exist, lacks its value or makes no sense here. (Hydra would print its whole usage,
            or raise errors of many types.)
    """
    from hydra._internal.utils import get_args_parser

    def complain(message: str) -> NoReturn:
        raise UserError(f"{message}; see {program} --help and {program} --hydra-help")

    parser = get_args_parser()
    parser.error = complain  # type: ignore[method-assign]
    parsed, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        complain(f"there is no option {unknown[0]}")
    if parsed.experimental_rerun is not None:
        complain("--experimental-rerun is refused: it unpickles a file, which can run any program")
    if parsed.shell_completion:
        complain("--shell-completion is refused: it completes for Hydra alone; use moefacts --install-completion")
    modes = [name for name in ("run", "multirun", "cfg", "info") if getattr(parsed, name)]
    if parsed.multirun and parsed.cfg:
        raise UserError("--cfg shows the settings of one run; leave out -m")
    if len(modes) > 1:
        complain(f"{' and '.join(f'--{name}' for name in modes)} exclude each other; give one of them")
    for name in ("resolve", "package"):
        if getattr(parsed, name) and not parsed.cfg:
            complain(f"--{name} says what --cfg shows; give --cfg job, too")
    parsed.overrides = as_typed(parsed.overrides)
    if parsed.multirun and (number := num_runs(parsed.overrides)) > _MOST_RUNS:
        raise UserError(
            f"-m would make {'unlimited' if number == inf else f'{number:,}'} runs of these values, more than "
            f"{_MOST_RUNS:,}; give fewer values, or split them among several commands"
        )
    return parsed


def _as_arguments(parsed: Namespace) -> list[str]:
    """The command line in the order that Hydra needs: options first."""
    given = {key: value for key, value in vars(parsed).items() if key != "overrides" and value not in (None, False)}
    options = [f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}") for key, value in given.items()]
    return [*options, *parsed.overrides]
