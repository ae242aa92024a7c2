"""python -m tests.torture KIND --count N --seed S: print every failure, then how many were tried; exit 1 if any failed."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.torture import crash, damage, lines, writers

# Kind -> a function of (count, seed, empty folder) that yields what is wrong with each trial, or None; and a large count.
KINDS = {
    "crash": (crash.failures, 1000),
    "damage": (damage.failures, 5000),
    "lines": (lines.failures, 5000),
    "writers": (writers.failures, 200),
}


def main() -> int:
    """Run one kind of torture, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("kind", choices=[*KINDS, "all"])
    parser.add_argument("--count", type=int, help="number of trials of each kind (default: large)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds = list(KINDS) if options.kind == "all" else [options.kind]
    failed = [_run(kind, options.count, options.seed) for kind in kinds]
    return 1 if any(failed) else 0


def _run(kind: str, count: int | None, seed: int) -> int:
    """Run one kind and return how many trials failed."""
    find, large = KINDS[kind]
    tried = failed = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for wrong in find(count or large, seed, Path(folder)):
            tried += 1
            if wrong:
                failed += 1
                print(f"{kind} {tried}: {wrong}", flush=True)
    minutes = (time.monotonic() - started) / 60
    print(f"{kind}: {tried:,} tried, {failed} failed, seed {seed}, {minutes:.0f} min", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
