"""What moefacts writes may be read by whoever the umask lets read it (issue 16, 8; safetensors issue 782)."""

import os
import stat

import pytest
import torch
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.runs import layout
from moefacts.training.tensor_files import save_tensors
from tests.conftest import TINY


@pytest.fixture(params=[0o002, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes_under(folder):
    return {path.relative_to(folder): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.usefixtures("quick_figures")
def test_every_file_and_folder_follows_the_umask(tmp_path, umask):
    run = tmp_path / "runs" / "run"
    for arguments in (
        ["train", *TINY, f"run.dir={run}"],
        ["analyze", run],
        ["export", run, "--out", tmp_path / "exported"],
        ["generate", *TINY, "dataset.train=8", "dataset.validation=8", "dataset.unseen=8", "--out", tmp_path / "data"],
    ):
        result = CliRunner().invoke(cli.app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
    found = modes_under(tmp_path)
    weights = layout.checkpoint_folder(run, 12) / "model.safetensors"
    assert {path.name for path in found} >= {weights.name, layout.REPORT, "README.md", "confidence.parquet"}
    assert weights.relative_to(tmp_path) in found
    for path, mode in found.items():
        assert mode == (0o777 if (tmp_path / path).is_dir() else 0o666) & ~umask, path


def test_weights_that_replace_others_follow_the_umask_too(tmp_path, umask):
    for number in range(2):
        save_tensors(tmp_path / "model.safetensors", {"weight": torch.full((2,), float(number))})
    assert modes_under(tmp_path) == {path.relative_to(tmp_path): 0o666 & ~umask for path in tmp_path.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
