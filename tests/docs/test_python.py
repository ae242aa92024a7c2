"""The Python of README and of docs/api.md runs, on a tiny run in place of the demo's."""

import re
from pathlib import Path

import pytest

import moefacts

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_the_examples_run(page, trained_once, monkeypatch):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    (name, *_) = moefacts.load_run(trained_once).names()
    replaced = {
        "runs/demo/dense_laptop-n1500-seed0-…": str(trained_once),
        "Annie Betty Harris": name,
        'list_runs("runs")': f'list_runs("{trained_once.parent}")',
    }
    for written, here in replaced.items():
        code = code.replace(written, here)
    lines = [f"seen.append(({line.partition('  #')[0]}))" if is_value(line) else line for line in code.splitlines()]
    namespace = {"seen": [], "print": lambda *shown: namespace["seen"].append(shown)}
    exec(compile("\n".join(lines), page, "exec"), namespace)
    assert len(namespace["seen"]) >= 4


def is_value(line):
    """Whether a line of an example is an expression whose value a notebook would show."""
    return bool(re.match(r"(moefacts|run|study|inside)\.", line)) and not re.match(r"[\w.]+ = ", line)
