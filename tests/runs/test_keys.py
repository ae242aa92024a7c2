"""Only ``runs.keys`` and ``synthetic_data.cohorts`` spell out the names in a run's record."""

import ast
from pathlib import Path

import pytest

import moefacts
from moefacts.runs import keys

PACKAGE = Path(moefacts.__file__).parent
AT_HOME = {PACKAGE / "runs" / "keys.py", PACKAGE / "synthetic_data" / "cohorts.py"}
PREFIXES = ("eval/", "train/", "routing/layer", "throughput/", "curriculum/")
# "unseen" and "new" are also settings: population.unseen, dataset.unseen, population.new.
ALLOWED = {("config/sections.py", "unseen"), ("experiments/tasks/memory.py", "unseen")}
# Those of a toy memory are facts, not people.
ALLOWED |= {(f"experiments/{path}.py", "new") for path in ("tasks/toy_memories", "studies/toy_memory/toy_memory")}


def literals(path):
    """The string constants of a module that are not docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


@pytest.mark.parametrize("folder", sorted(path.name for path in PACKAGE.iterdir() if path.is_dir()))
def test_no_other_module_spells_a_metric_key_or_a_cohort(folder):
    found = {
        (str(path.relative_to(PACKAGE)), text)
        for path in (PACKAGE / folder).rglob("*.py")
        if path not in AT_HOME
        for text in literals(path)
        if text in keys.COHORTS or text.startswith(PREFIXES)
    }
    assert found <= ALLOWED


def test_the_search_would_find_one():
    assert "seen" in set(literals(PACKAGE / "synthetic_data" / "cohorts.py"))
    assert any(text.startswith(PREFIXES) for text in literals(PACKAGE / "runs" / "keys.py"))


def test_keys_are_read_back():
    key = keys.evaluation_key("rare", keys.ENTROPY)
    assert keys.cohort_of_key(key, keys.ENTROPY) == "rare"
    assert keys.cohort_of_key(keys.evaluation_key("rare", keys.ENTROPY, "major"), keys.ENTROPY) is None
    assert keys.cohort_of_key(keys.evaluation_key("rare", keys.ENTROPY, bucket="head"), keys.ENTROPY) is None
    assert keys.layer_of_key(keys.routing_key(3, keys.MAX_VIOLATION), keys.MAX_VIOLATION) == 3
    assert keys.layer_of_key(keys.routing_key(3, keys.LOAD_FRACTION, 1), keys.LOAD_FRACTION) is None
