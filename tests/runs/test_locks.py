"""Where a lock cannot be taken, one line names it, and the other runs are listed all the same (issue 16, line 15)."""

import errno
import fcntl
import json
import os
import shutil

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.errors import UserError
from moefacts.experiments.engine.grid import ELSEWHERE, FINISHED, HALF_DONE, run_state
from moefacts.runs import layout
from moefacts.runs.locks import lock_run, turn_to_write
from moefacts.runs.manifest import read_manifest
from tests.conftest import TINY


@pytest.fixture
def runs(finished_run, tmp_path):
    """A folder with a run that says it is running, between two that are finished."""
    for name in ("a", "b", "c"):
        shutil.copytree(finished_run, tmp_path / name)
    manifest = read_manifest(tmp_path / "b") | {"state": "running"}
    (tmp_path / "b" / layout.MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that refuses locks, as NFS does when its lock service does not run."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def listed(root):
    result = CliRunner().invoke(cli.app, ["list", "--root", str(root)])
    assert result.exit_code == 0, result.output
    return {line.split()[0][-1]: line for line in result.output.splitlines() if line.startswith(str(root))}


@pytest.mark.usefixtures("without_locks")
def test_15_a_list_names_the_lock_and_goes_on(runs):
    lines = listed(runs)
    assert [lines[name].split()[1] for name in "abc"] == ["finished", "unknown", "finished"]
    assert f"{runs / 'b' / layout.LOCK} cannot be locked (No locks available)" in lines["b"]
    assert [run_state(runs / name) for name in "abc"] == [FINISHED, ELSEWHERE, FINISHED]


@pytest.mark.usefixtures("without_locks")
def test_15_training_says_what_to_do(fails, tmp_path):
    line = fails("train", *TINY, f"run.dir={tmp_path}/run")
    assert f"{tmp_path}/run/{layout.LOCK} cannot be locked (No locks available)" in line
    assert "keep runs on another one with run.root=FOLDER" in line


@pytest.mark.usefixtures("without_locks")
def test_15_what_is_made_from_runs_needs_no_lock(tmp_path):
    with turn_to_write(tmp_path), turn_to_write(tmp_path):
        (tmp_path / "file").touch()


def test_15_a_lock_that_is_a_folder_or_may_not_be_written_stops_no_list(runs, monkeypatch):
    (runs / "b" / layout.LOCK).unlink()
    (runs / "b" / layout.LOCK).mkdir()
    assert "unknown" in listed(runs)["b"]
    with pytest.raises(UserError, match="it must be a file that you may write"):
        lock_run(runs / "b")


@pytest.mark.parametrize("state", ["finished", "running"])
def test_15_what_only_reads_a_run_never_asks_for_its_lock(runs, state):
    """So a lock that is a folder, or is held, makes no analysis wait."""
    run = runs / "a"
    (run / layout.MANIFEST).write_text(json.dumps(read_manifest(run) | {"state": state}))
    (run / layout.LOCK).unlink(missing_ok=True)
    (run / layout.LOCK).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moefacts.runs.locks.FileLock", lambda *_, **__: pytest.fail("a lock was asked for"))
        result = CliRunner().invoke(cli.app, ["analyze", str(run), "--no-report", "--json"])
    assert result.exit_code == 0, result.output


def test_what_is_made_from_a_run_whose_lock_for_writing_is_a_folder_is_made_at_once(tmp_path):
    (tmp_path / layout.WRITING_LOCK).mkdir()
    with turn_to_write(tmp_path):
        (tmp_path / "file").touch()


def test_a_look_at_the_lock_does_not_stop_training_that_begins(tmp_path):
    """``moefacts list`` holds the lock for an instant. Training waits that long."""
    import threading

    looking, held = FileLock(tmp_path / layout.LOCK), threading.Event()

    def look():
        with looking:
            held.set()
            threading.Event().wait(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    held.wait()
    lock_run(tmp_path).release()
    thread.join()


def test_a_killed_run_is_half_done(runs):
    assert run_state(runs / "b") == HALF_DONE
