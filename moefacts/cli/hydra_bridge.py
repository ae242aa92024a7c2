"""Run the real ``hydra.main`` behind a Typer command, so that overrides, ``-m``, ``--cfg`` and launchers all work."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NoReturn, TypeVar

from moefacts.cli.signals import signals_passed_on
from moefacts.config.loader import load_config
from moefacts.config.presets import CONFIG_MODULE, CONFIG_NAME, explain
from moefacts.errors import UserError

Loaded = TypeVar("Loaded")


def run_with_hydra(
    program: str,
    arguments: Sequence[str],
    task: Callable[[Loaded], object],
    load: Callable[[Any], Loaded] = load_config,  # type: ignore[assignment]
) -> None:
    """Compose the configuration from ``arguments`` as Hydra does, and call ``task`` with it, once per job of ``-m``.

    ``load`` converts what Hydra composed into what ``task`` takes, by default a ``RunConfig``.

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

    saved_arguments, saved_flag = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [program, *_options_first(program, arguments)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them and exiting
    try:
        with signals_passed_on() if "-m" in arguments or "--multirun" in arguments else nullcontext():
            hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=CONFIG_NAME)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, arguments) from None
    finally:
        sys.argv = saved_arguments
        if saved_flag is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = saved_flag
    if stopped:
        raise stopped[0]


def _options_first(program: str, arguments: Sequence[str]) -> list[str]:
    """The arguments in the order that Hydra needs.

    Raises:
        UserError: an option does not exist or lacks its value. (Hydra would print its whole usage.)
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
    return [a for a in arguments if a not in parsed.overrides] + parsed.overrides
