"""Damage, divergence and a full disk are reported in one line, and nothing more is lost."""

import json
import shutil
import sys

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.runs.records import read_metrics
from tests.conftest import TINY


@pytest.mark.parametrize(
    "manifest", ['{"versions": null}', '{"versions": {"moefacts": "1"}, "state": "finished"}', "[]", "3"]
)
def test_one_damaged_run_does_not_hide_the_others(fails, finished_run, tmp_path, manifest):
    shutil.copytree(finished_run, tmp_path / "good")
    shutil.copytree(finished_run, tmp_path / "bad")
    (tmp_path / "bad" / "checkpoints" / "step_foo").mkdir()
    (tmp_path / "bad" / layout.MANIFEST).write_text(manifest)
    listing = CliRunner().invoke(cli.app, ["list", "--root", str(tmp_path)])
    assert listing.exit_code == 0
    assert "12/12" in listing.stdout
    assert str(tmp_path / "bad") in fails("analyze", tmp_path / "bad")


def damaged_copy(finished_run, tmp_path, step=8):
    """An unfinished copy of a run, and the folder of its newest checkpoint, for a test to damage."""
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    shutil.rmtree(layout.checkpoint_folder(copy, 12))
    manifest = read_manifest(copy) | {"state": "running"}
    (copy / layout.MANIFEST).write_text(json.dumps(manifest))
    return copy, layout.checkpoint_folder(copy, step)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_truncated_checkpoint_is_named_and_nothing_is_lost(fails, finished_run, tmp_path, file):
    copy, checkpoint = damaged_copy(finished_run, tmp_path)
    content = (checkpoint / file).read_bytes()
    (checkpoint / file).write_bytes(content[: len(content) // 2])
    metrics = (copy / layout.METRICS).read_bytes()
    line = fails("train", "--resume", copy)
    assert "cannot resume from step 8" in line
    assert file in line
    assert (copy / layout.METRICS).read_bytes() == metrics
    assert checkpoint.exists()


def test_asking_a_truncated_checkpoint_names_it(fails, finished_run, tmp_path):
    copy, checkpoint = damaged_copy(finished_run, tmp_path)
    (checkpoint / "model.safetensors").write_bytes(b"short")
    assert "model.safetensors is damaged" in fails("ask", copy, "A B C")


def test_a_damaged_metrics_line_is_named_and_the_file_kept(fails, finished_run, tmp_path):
    copy, _ = damaged_copy(finished_run, tmp_path)
    lines = (copy / layout.METRICS).read_text().splitlines()
    lines[1] = lines[1][:20]
    (copy / layout.METRICS).write_text("\n".join(lines) + "\n")
    for command in (["analyze", copy], ["train", "--resume", copy]):
        assert "metrics.jsonl line 2 is damaged" in fails(*command)
    assert (copy / layout.METRICS).read_text().splitlines() == lines


def test_a_second_process_on_the_same_run_is_refused(fails, finished_run, tmp_path):

    copy, _ = damaged_copy(finished_run, tmp_path)
    with FileLock(copy / layout.LOCK):
        assert "is being trained by another process" in fails("train", "--resume", copy)


def test_training_that_diverges_says_so(fails, tmp_path):
    line = fails("train", *TINY, f"run.dir={tmp_path}/run", "training.learning_rate=1e12", "training.log_interval=1")
    assert "training diverged" in line
    assert read_manifest(tmp_path / "run")["state"] == "failed"


def test_a_full_disk_is_reported_in_one_line_and_the_run_can_be_resumed(fails, tmp_path, monkeypatch, finished_run):
    """The disk fills up while a checkpoint is written. The error is that of safetensors."""
    from safetensors import SafetensorError

    from moefacts.training import checkpoint

    save_file, calls = checkpoint.save_file, []

    def full_disk(tensors, path, **options):
        calls.append(path)
        if len(calls) > 3:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, path, **options)

    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    arguments = ("train", *TINY, f"run.dir={tmp_path}/run")
    assert "no space left on the device" in fails(*arguments)
    assert read_manifest(tmp_path / "run")["state"] == "interrupted"
    assert layout.checkpoint_steps(tmp_path / "run") == [0]
    monkeypatch.setattr(checkpoint, "save_file", save_file)
    monkeypatch.setattr(sys, "argv", ["moefacts", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 0
    new, old = (read_metrics(run / layout.METRICS) for run in (tmp_path / "run", finished_run))
    assert [r["eval/seen/attribute_loss"] for r in new if "eval/seen/attribute_loss" in r] == [
        r["eval/seen/attribute_loss"] for r in old if "eval/seen/attribute_loss" in r
    ]
