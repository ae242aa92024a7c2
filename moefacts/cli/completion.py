"""What the shell offers after TAB: settings and their values, presets, studies, and folders that are runs.

A shell adds a space to the only candidate. So what goes on is never the only one: a setting comes with its value, a
folder with what is in it.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

_TRUTH_VALUES = ("true", "false")


def complete_runs(incomplete: str) -> list[str]:
    """The folders that are runs or hold some, of which the path begins with ``incomplete``."""
    found = list(_runs(incomplete))
    while len(found) == 1 and found[0].endswith("/"):
        found = list(_runs(found[0]))
    return [_as_typed(path) for path in found]


def complete_study(incomplete: str) -> list[tuple[str, str]]:
    """The studies whose names begin with ``incomplete``, with their titles."""
    from moefacts.experiments.studies.titles import study_titles

    named = {study.name: study.title for study in study_titles()} | {"all": "every study of the paper"}
    return [(name, title) for name, title in named.items() if name.startswith(incomplete)]


def complete_override(context: typer.Context, incomplete: str) -> list[str]:
    """Settings and presets that begin with ``incomplete``, or, after the = of one, its values.

    bash takes = for the end of a word: of ``model=moe`` it completes ``moe``, and ``model`` and ``=`` come before.
    """
    typed = list(context.params.get("overrides") or ())
    if "=" not in incomplete and "=" in typed[-1:]:
        return _values(typed[-2], incomplete, typed) if len(typed) > 1 else []
    if not incomplete and typed and _key(typed[-1]) in _settings(typed):
        return _values(typed[-1], "", typed)  # bash again, directly after the =
    key, is_complete, value = incomplete.partition("=")
    if is_complete:
        return [f"{key}={one}" for one in _values(key, value, typed)]
    plus = incomplete[: len(incomplete) - len(_key(incomplete))]
    keys = [f"{plus}{one}=" for one in _settings(typed) if one.startswith(_key(incomplete))]
    return keys + [f"{keys[0]}{one}" for one in _values(keys[0][:-1], "", typed)] if len(keys) == 1 else keys


def _key(text: str) -> str:
    return text.lstrip("+~")


def _settings(typed: Sequence[str]) -> dict[str, str]:
    """Every setting and group of presets with its value, given the presets that were chosen."""
    from moefacts.config.preset_files import preset_names, settings_as_text

    chosen = {"scale": "laptop"} | dict(re.findall(r"(?:^|\n)(scale|model)\n?=\n?(\w+)", "\n".join(typed)))
    known = {group: name for group, name in chosen.items() if name in preset_names(group)}
    return {"scale": chosen["scale"], "model": ""} | settings_as_text(known.get("scale", "laptop"), known.get("model"))


def _values(key: str, incomplete: str, typed: Sequence[str]) -> list[str]:
    """Presets of a group, or the value that a setting has; after a comma, further ones for a sweep."""
    from moefacts.config.preset_files import GROUPS, preset_names

    key = _key(key)
    before = incomplete[: incomplete.rfind(",") + 1]
    known = _settings(typed).get(key)
    if key in GROUPS:
        offered: Sequence[str] = preset_names(key)
    else:
        offered = _TRUTH_VALUES if known in _TRUTH_VALUES else [known] if known is not None else []
    return [f"{before}{one}" for one in offered if f"{before}{one}".startswith(incomplete)]


def _runs(incomplete: str) -> Iterator[str]:
    from moefacts.cli.run_folders import is_run

    head, slash, tail = incomplete.rpartition("/")
    try:
        entries = sorted(Path(f"{head}{slash}" or ".").expanduser().iterdir())
    except OSError:
        return
    for path in entries:
        if path.name.startswith(tail) and path.is_dir() and (tail.startswith(".") or not path.name.startswith(".")):
            ending = "" if is_run(path) else "/"
            if not ending or _holds_runs(path):
                yield f"{head}{slash}{path.name}{ending}"


def _holds_runs(folder: Path) -> bool:
    from moefacts.runs import layout

    return any(True for depth in ("*", "*/*") for _ in folder.glob(f"{depth}/{layout.CONFIG}"))


def _as_typed(path: str) -> str:
    """A path as it must be typed. Other shells than bash see to that themselves."""
    return re.sub(r"([^\w@%+=:,./~-])", r"\\\1", path) if "complete_bash" in os.environ.values() else path


Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings, and options of Hydra.", autocompletion=complete_override),
]
