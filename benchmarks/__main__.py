"""``python -m benchmarks [NAME] [--json FILE] [--rounds N] [override …]`` prints ratios and writes them as JSON.

Without a name, every benchmark that this machine can run is run. Overrides are those of ``moefacts train``.
"""

import argparse
import importlib
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.setting import Result, Row, Setting
from moefacts.errors import UserError, nearest
from moefacts.training.run_directory import provenance

NAMES = (
    "floor",
    "parts",
    "transformers",
    "sizes",
    "data",
    "study",
    "generate",
    "memory",
    "moe",
    "finetuning",
    "recurrence",
    "scaling",
    "save",
    "gpu",
)


def measure(name: str, setting: Setting) -> Result:
    """Run one benchmark, print its table, and return its result, which records how and where it was measured.

    Raises:
        UserError: this machine cannot run it.
    """
    torch.set_num_threads(1)
    result = importlib.import_module(f"benchmarks.{name}").run(setting)
    print(f"\n{name}")
    for row in rows_of(name, result):
        print(row.text())
    parts = ["python", "-m", "benchmarks", name, "--rounds", str(setting.rounds), *setting.overrides]
    return {"benchmark": name, "command": shlex.join(parts), "environment": provenance(_device()), **result}


def rows_of(name: str, result: Result) -> list[Row]:
    """The table rows of a result."""
    return importlib.import_module(f"benchmarks.{name}").rows(result)


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"cpu: {names[0] if names else 'unknown'}, {capability}, {torch.get_num_threads()} thread"


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, measure, write the results, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("overrides", nargs="*", metavar="override", help="such as model.d_model=128 or device=cuda")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--rounds", type=int, default=15, help="how often every candidate is timed")
    options = parser.parse_intermixed_args(arguments)
    overrides, name = list(options.overrides), options.name
    if name is not None and "=" in name:
        overrides, name = [name, *overrides], None
    setting = Setting(options.rounds, tuple(overrides))
    try:
        if options.rounds < 1:
            raise UserError(f"--rounds {options.rounds} is too few; it must be at least 1")
        if name is not None and name not in NAMES:
            raise UserError(f"there is no benchmark '{name}'; {nearest(name, NAMES)}")
        written: dict[str, Any] = measure(name, setting) if name else _measure_all(setting, options.json)
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    _write(options.json, written)
    return 0


def _measure_all(setting: Setting, path: Path | None) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name in NAMES:
        try:
            results[name] = measure(name, setting)
        except UserError as error:
            print(f"\n{name}: left out: {error}")
        _write(path, results)  # keep these results even if a later benchmark fails
    return results


def _write(path: Path | None, value: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
