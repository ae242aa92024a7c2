"""What goes wrong around an export gets one line, and no half of a folder is left (issue 16, 1 and 4)."""

import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from safetensors import safe_open

from moefacts.experiments.tasks.export import export_run
from moefacts.runs import layout
from moefacts.training.checkpoint import MODEL


@contextmanager
def room_for(num_bytes):
    """Let no file grow beyond ``num_bytes``. To a writer this looks like a disk that is full."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to write to, as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_4_whichever_file_no_longer_fits_nothing_is_left(fails, finished_run, elsewhere):
    export_run(finished_run, elsewhere / "whole")
    sizes = sorted({path.stat().st_size for path in (elsewhere / "whole").iterdir()})
    shutil.rmtree(elsewhere / "whole")
    for size in sizes:
        with room_for(size - 1):
            assert "no space left on the device" in fails("export", finished_run, "--out", "out")
        assert list(elsewhere.iterdir()) == []
    with room_for(sizes[-1]):
        export_run(finished_run, elsewhere / "out")
    assert sorted({path.stat().st_size for path in (elsewhere / "out").iterdir()}) == sizes


def test_4_the_line_names_the_weights_that_did_not_fit(fails, finished_run, elsewhere):
    with room_for(10):
        assert "model.safetensors" in fails("export", finished_run, "--out", "out")


def test_1_of_two_exports_to_one_folder_one_wins_and_the_other_gets_one_line(finished_run, elsewhere):
    command = [sys.executable, "-m", "moefacts", "export", str(finished_run), "--out", "out", "--step"]
    started = [subprocess.Popen([*command, step], stderr=subprocess.PIPE, text=True) for step in ("4", "12")]
    errors = [process.communicate(timeout=300)[1] for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == [0, 2]
    assert errors[codes.index(0)] == ""
    assert len(errors[codes.index(2)].splitlines()) == 1
    assert "give another --out" in errors[codes.index(2)]
    winner = (4, 12)[codes.index(0)]
    assert f"| steps of training | {winner} of 12," in (elsewhere / "out" / "README.md").read_text()
    name = "model.embed_tokens.weight"
    with (
        safe_open(elsewhere / "out" / MODEL, "pt") as exported,
        safe_open(layout.checkpoint_folder(finished_run, winner) / MODEL, "pt") as own,
    ):
        assert exported.get_tensor(name).equal(own.get_tensor("embedding.weight"))
    assert [path.name for path in elsewhere.iterdir()] == ["out"]


@pytest.mark.parametrize("out", ["a b", "a/new one", "empty", "link", "Bogotá’s [x]"])
def test_an_export_goes_to_any_new_or_empty_folder(finished_run, elsewhere, out):
    (elsewhere / "empty").mkdir()
    (elsewhere / "link").symlink_to(elsewhere / "empty")
    export_run(finished_run, elsewhere / out)
    assert (elsewhere / out / "README.md").exists()


@pytest.mark.parametrize("out", ["", ".", "full", "file", "file/below"])
def test_an_export_touches_nothing_that_is_there(fails, finished_run, elsewhere, out):
    (elsewhere / "full").mkdir()
    (elsewhere / "full" / "mine").write_text("precious")
    (elsewhere / "file").write_text("precious")
    fails("export", finished_run, "--out", out)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["file", "full"]
    assert [path.name for path in (elsewhere / "full").iterdir()] == ["mine"]


def test_a_run_that_may_only_be_read_is_exported_and_left_as_it_is(finished_run, elsewhere):
    """Root may write everywhere, so what matters is that nothing tries to."""
    before = {path: path.stat().st_mtime_ns for path in [finished_run, *finished_run.rglob("*")]}
    export_run(finished_run, elsewhere / "out")
    assert {path: path.stat().st_mtime_ns for path in [finished_run, *finished_run.rglob("*")]} == before


@pytest.mark.parametrize("checkpoints", [[], ["step_x", "step_"]])
def test_a_run_without_a_checkpoint_is_refused(fails, finished_run, elsewhere, checkpoints):
    shutil.rmtree(finished_run / layout.CHECKPOINTS)
    for name in checkpoints:
        (finished_run / layout.CHECKPOINTS / name).mkdir(parents=True)
    assert "has no checkpoint yet" in fails("export", finished_run, "--out", "out")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(("step", "is_told"), [(4, True), (None, False)])
def test_0_the_card_of_an_earlier_checkpoint_says_how_to_get_to_it(finished_run, elsewhere, step, is_told):
    export_run(finished_run, elsewhere / "exported", step)
    card = (elsewhere / "exported" / "README.md").read_text()
    assert ("These are the weights after step 4, before the end of training" in card) is is_told
    assert ("moefacts export FOLDER_OF_THE_RUN --step 4 --out model" in card) is is_told
