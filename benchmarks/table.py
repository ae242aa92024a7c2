"""``python -m benchmarks.table FILE…``: writes results into docs/performance.md, so that nobody types a number."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.__main__ import rows_of

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- results: python -m benchmarks.table -->\n", "<!-- end of results -->\n"


def markdown(results: list[dict[str, Any]]) -> str:
    """One table a benchmark, with the command, commit and machine that it came from."""
    parts = []
    for result in results:
        environment = result["environment"]
        torch_version = environment["versions"].get("torch", "?")
        commit, _, dirty = (environment["git_commit"] or "?").partition("-")
        source = f"`{result['command']}` at `{commit[:12]}{dirty and ' with changes'}`"
        lines = [
            f"### {result['benchmark']}\n",
            f"{source}, {environment['device']}, torch {torch_version}.\n",
            "| measure | value | goal | |\n|---|---|---|---|",
        ]
        for row in rows_of(result["benchmark"], result):
            verdict = {None: "", True: "met", False: "**not met**"}[row.holds]
            lines.append(f"| {row.measure} | {row.value} | {row.goal} | {verdict} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main(paths: list[str]) -> None:
    """Replace what stands between the markers."""
    results: list[dict[str, Any]] = []
    for path in paths:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        results += [value] if "benchmark" in value else value.values()
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + "\n" + markdown(results) + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
