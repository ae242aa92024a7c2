"""Files and folders appear whole, each from one writer, and only what dead processes left is removed (issue 16, 1 and 3)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moefacts.errors import UserError
from moefacts.runs import temporary
from moefacts.runs.durable import FolderTaken, new_folder, write_durably
from moefacts.runs.temporary import is_being_written, sweep, sweep_run, temporary_beside

LONG_AGO = 1_000_000_000
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@pytest.fixture
def sleeper():
    """A living process that is not this one."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def left_by(process, folder, target="report.html", host=None, age=0.0):
    """A temporary folder that the process of this number has made for ``target``, with a file that is ``age`` old."""
    path = folder / f".{target}.{host or temporary._this_host()}-{process}-0.tmp"
    path.mkdir()
    (path / "part").write_text("half")
    for one in (path / "part", path):
        os.utime(one, (time.time() - age,) * 2)
    return path


def test_1_the_second_writer_of_a_folder_is_refused_at_once_and_the_first_goes_on(tmp_path):
    with new_folder(tmp_path / "data") as first:
        (first / "seed").write_text("0")
        with pytest.raises(FolderTaken, match="is being written by another process"), new_folder(tmp_path / "data"):
            pytest.fail("it was not refused")
    assert (tmp_path / "data" / "seed").read_text() == "0"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("empty_before", [False, True])
def test_1_of_two_writers_the_first_to_end_wins_and_nothing_of_the_other_is_mixed_in(tmp_path, empty_before):
    if empty_before:
        (tmp_path / "data").mkdir()
    slow = new_folder(tmp_path / "data", refuse_others=False)
    (slow.__enter__() / "of the slow one").touch()
    with new_folder(tmp_path / "data", refuse_others=False) as fast:
        (fast / "seed").write_text("1")
    with pytest.raises(FolderTaken, match="was written by another process meanwhile"):
        slow.__exit__(None, None, None)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["seed"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_1_two_writers_of_a_file_leave_it_whole(tmp_path):
    def interrupted(path):
        path.write_text("of the first")
        write_durably(tmp_path / "file", b"of the second")
        assert path.read_text() == "of the first"

    write_durably(tmp_path / "file", interrupted)
    assert (tmp_path / "file").read_text() == "of the first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("out", [".", "", ".."])
def test_a_folder_in_use_cannot_be_made_anew(tmp_path, monkeypatch, out):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    with pytest.raises(UserError, match="give"), new_folder(Path(out)):
        pytest.fail("it was not refused")
    assert list(Path.cwd().iterdir()) == []


def test_3_what_a_killed_process_left_is_removed_by_the_next_writer_in_the_folder(tmp_path, sleeper):
    left = left_by(sleeper.pid, tmp_path)
    sleeper.kill()
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    write_durably(tmp_path / "another", b"")
    assert not left.exists()
    sleeper.wait()
    left = left_by(sleeper.pid, tmp_path)
    assert not is_being_written(tmp_path / "report.html")
    write_durably(tmp_path / "another", b"")
    assert not left.exists()


def test_3_what_a_living_process_writes_is_kept(tmp_path, sleeper):
    left = left_by(sleeper.pid, tmp_path)
    assert is_being_written(tmp_path / "report.html")
    sweep(tmp_path)
    assert (left / "part").exists()


def test_3_a_process_number_that_was_used_again_protects_nothing(tmp_path, sleeper):
    left = [left_by(sleeper.pid, tmp_path, age=3600), left_by(os.getpid(), tmp_path)]
    sweep(tmp_path)
    assert [path.exists() for path in left] == [False, False]


@pytest.mark.parametrize(("age", "kept"), [(3600, True), (3 * 24 * 3600, False)])
def test_3_on_another_host_age_decides(tmp_path, age, kept):
    left = left_by(1, tmp_path, host="0123abcd", age=age)
    os.utime(left, (LONG_AGO, LONG_AGO))  # what is written inside a folder does not change the folder's own time
    sweep(tmp_path)
    assert left.exists() == kept


def test_3_what_earlier_versions_left_in_a_run_is_removed_when_it_is_a_day_old(tmp_path):
    for name in (".report.html.17.tmp", ".confidence.parquet.4711.tmp", "thesis.tmp", ".fresh.html.18.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time(),) * 2 if "fresh" in name else (LONG_AGO, LONG_AGO))
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    sweep_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fresh.html.18.tmp", "thesis.tmp"]


@given(names)
def test_3_nobody_takes_the_temporary_name_of_one_target_for_that_of_another(name):
    with temporary_beside(Path("/nowhere") / name) as path:
        found = temporary._NAME.fullmatch(path.name)
        assert found["target"] == name
