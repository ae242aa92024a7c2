"""python -m tests.torture KIND --count N --seed S: print every failure, then how many were tried; exit 1 if any failed."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.torture import damage

# Kind -> a function of (count, seed, empty folder) that yields what is wrong with each trial, or None.
KINDS = {"damage": damage.failures}


def main() -> int:
    """Run one kind of torture."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tried = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for wrong in KINDS[options.kind](options.count, options.seed, Path(folder)):
            tried += 1
            if wrong:
                failed += 1
                print(f"{tried}: {wrong}", flush=True)
    print(f"{options.kind}: {tried:,} tried, {failed} failed, seed {options.seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
