"""A few of the kills that ``python -m tests.torture crash`` tries by the hundred."""

import pytest

from tests.torture import commands, crash
from tests.torture.snapshots import difference

COUNT, SEED = 4, 1


@pytest.fixture(scope="module")
def victims(tmp_path_factory):
    return crash.prepare(tmp_path_factory.mktemp("whole"), "train", "generate", "extend")


def test_a_killed_command_ends_in_the_same_bits_when_it_runs_again(victims, tmp_path):
    found = [crash.failure(kill, tmp_path / "killed") for kill in crash.kills(victims, COUNT, SEED)]
    assert not [wrong for wrong in found if wrong]


def test_all_that_a_run_does_to_files_is_an_event(victims):
    """Else kills would miss it: each of a run's four checkpoints has two files of tensors, synced and renamed."""
    events = victims[0].events
    assert {"open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "write table"} <= set(events)
    assert events.count("write tensors") == 2 * 4
    assert len(events) > 100


def test_a_kill_that_nobody_recovers_from_would_be_found(victims, tmp_path, monkeypatch):
    """The property can fail: it does for a command that writes something else the second time."""
    train = victims[0]
    monkeypatch.setitem(crash.COMMANDS, "train", (*train.arguments, "seed=1"))
    found = crash.failure(crash.Kill(train, 1, 0.0, None), tmp_path / "killed")
    assert "checkpoints/step_00000000/model.safetensors differs" in found


def test_differences_are_named():
    assert difference({"a": 1.0, "b": float("nan")}, {"a": 1.0, "b": float("nan")}) is None
    assert difference({"a": 1, ".x.tmp": 2}, {"a": 2, "b": 3}) == ".x.tmp is left over, a differs, b is missing"


def test_a_process_that_is_killed_says_so(tmp_path):
    started = commands.Started(tmp_path, "list")
    started.kill()
    assert started.wait().code == -9
