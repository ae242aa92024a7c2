"""Hydra behind a Typer command: the real ``hydra.main``, so overrides, ``-m``, ``--cfg`` and launchers all work."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from moefacts.errors import UserError

if TYPE_CHECKING:
    from moefacts.config import RunConfig

CONFIG_FOLDER = "pkg://moefacts.conf"
CONFIG_NAME = "config"


def run_with_hydra(program: str, arguments: Sequence[str], task: Callable[["RunConfig"], object]) -> None:
    """Compose the configuration from ``arguments`` as Hydra does and call ``task`` with it (once for each job of ``-m``).

    Raises:
        UserError: an override is wrong.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    from moefacts.config import load_config

    def job(values: DictConfig) -> None:
        task(load_config(values))

    saved_argv, saved_flag = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [program, *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors come to us as exceptions instead of printing and exiting
    try:
        hydra.main(version_base="1.3", config_path=CONFIG_FOLDER, config_name=CONFIG_NAME)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error, arguments) from None
    finally:
        sys.argv = saved_argv
        if saved_flag is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = saved_flag


def compose(overrides: Sequence[str] = ()) -> "RunConfig":
    """The configuration that ``overrides`` give, without running anything.

    Raises:
        UserError: an override is wrong.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from moefacts.config import load_config

    with hydra.initialize_config_module("moefacts.conf", version_base="1.3"):
        try:
            return load_config(hydra.compose(CONFIG_NAME, overrides=list(overrides)))
        except (HydraException, OmegaConfBaseException) as error:
            raise _explain(error, overrides) from None


def _explain(error: Exception, arguments: Sequence[str]) -> UserError:
    """One line for what Hydra says in several, with the nearest setting when a key is unknown."""
    from moefacts.config import unknown_key

    text = str(error)
    key = re.search(r"Key '([^']+)' is not in struct\s+full_key: (\S+)", text) or re.search(
        r"Could not (?:override|delete from|append to).*?'([^'=]+)(?:=[^']*)?'", text
    )
    if key:
        return unknown_key(key[key.lastindex or 1])
    option = re.search(r"Could not find '([^']+)'.*?Available options in '[^']+':\s*(.*)", text, re.DOTALL)
    if option:
        from moefacts.errors import nearest

        choices = [line.strip() for line in option[2].splitlines() if line.strip()]
        group, _, name = option[1].partition("/")
        return UserError(f"there is no {group} '{name}'; {nearest(name, choices)}")
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return UserError(f"{first.strip()} (arguments: {' '.join(arguments)})")
