"""``python -m benchmarks.table FILE…`` writes results into docs/performance.md, so that nobody has to type a number.

Tables of benchmarks without a file stay as they are.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.__main__ import rows_of
from moefacts.errors import UserError

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEADING = "### "
BEGIN, END = "<!-- results: python -m benchmarks.table -->\n", "<!-- end of results -->\n"


def section(result: dict[str, Any]) -> str:
    """The table of one benchmark, with the command, commit and machine behind it."""
    environment = result["environment"]
    torch_version = environment["versions"].get("torch", "?")
    commit, _, dirty = (environment["git_commit"] or "?").partition("-")
    source = f"`{result['command']}` at `{commit[:12]}{dirty and ' with changes'}`"
    lines = [
        f"{HEADING}{result['benchmark']}\n",
        f"{source}, {environment['device']}, torch {torch_version}.\n",
        "| measure | value | goal | |\n|---|---|---|---|",
    ]
    for row in rows_of(result["benchmark"], result):
        verdict = {None: "", True: "met", False: "**not met**"}[row.holds]
        lines.append(f"| {row.measure} | {row.value} | {row.goal} | {verdict} |")
    return "\n".join(lines) + "\n"


def main(paths: list[str]) -> None:
    """Replace the tables of the given files, between the markers; new tables come last."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    sections = {part.partition("\n")[0]: HEADING + part.rstrip() + "\n" for part in old.split(HEADING)[1:]}
    for path in paths:
        for result in _results(path):
            sections[result["benchmark"]] = section(result)
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(sections.values()) + "\n" + END + after, encoding="utf-8")


def _results(path: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    results = [] if not isinstance(value, dict) else [value] if "benchmark" in value else list(value.values())
    if not results or not all(isinstance(result, dict) and "benchmark" in result for result in results):
        raise UserError(f"{path} is not of `python -m benchmarks … --json {path}`")
    return results


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"benchmarks.table: {error}", file=sys.stderr)
        sys.exit(2)
