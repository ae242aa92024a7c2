"""moefacts: how dense and mixture-of-experts language models learn facts, measured.

``load_run``, ``list_runs`` and ``load_study`` are imported from ``moefacts.api`` when they are first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
_INTERFACE = ("LoadedRun", "LoadedStudy", "UserError", "list_runs", "load_run", "load_study")


def __getattr__(name: str) -> Any:
    """A name of the interface (PEP 562)."""
    if name not in _INTERFACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("moefacts.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_INTERFACE})
