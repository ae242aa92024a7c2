"""A few of the command lines that ``python -m tests.torture lines`` types by the thousand."""

import random

import pytest

from tests.torture import commands, lines
from tests.torture.damage import somebody

COUNT, SEED = 24, 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return lines.prepare(tmp_path_factory.mktemp("lines"))


def test_a_command_line_works_or_ends_with_one_line(whole, tmp_path):
    chance, person = random.Random(SEED), somebody(whole / "run")
    typed = [lines.command_line(chance, person) for _ in range(COUNT)]
    assert len({line[0] for line in typed if line}) >= len(lines.GRAMMAR) - 1
    found = [lines.failure(whole, line, tmp_path / "typed" / "here") for line in typed]
    assert not [wrong for wrong in found if wrong]


def test_runs_are_listed_without_an_option(whole, tmp_path):
    """The default of --root is a path already; it was read like a text."""
    assert lines.failure(whole, ["list"], tmp_path / "typed" / "here") is None


def test_several_datasets_in_one_folder_are_refused_before_anything_is_written(whole, tmp_path):
    """Hydra used to write its own files first."""
    assert lines.failure(whole, ["generate", "-m", "seed=0,1"], tmp_path / "typed" / "here") is None


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (commands.Outcome(None, "", "Traceback (most recent call last):\nKeyError: 1\n"), "KeyError: 1"),
        (commands.Outcome(2, "", "moefacts: one\nmoefacts: two\n"), "not one line"),
        (commands.Outcome(-11, "", ""), "exit code -11"),
        (commands.Outcome(1, "", "moefacts: x\n"), "exit code 1"),
    ],
)
def test_what_ends_otherwise_is_found(whole, tmp_path, outcome, answer):
    found = lines.failure(whole, ["list"], tmp_path / "typed" / "here", lambda *_, **__: outcome)
    assert found.startswith("['list']: ")
    assert answer in found


def test_what_is_half_written_is_found(whole, tmp_path):
    def half(place, *arguments, first):
        (place / "out").touch()
        return commands.Outcome(2, "", "moefacts: no\n")

    assert "half-written" in lines.failure(whole, ["list"], tmp_path / "typed" / "here", half)
