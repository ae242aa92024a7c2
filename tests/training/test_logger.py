"""A run that is resumed stays one run in W&B."""

import sys
import types

import pytest

from moefacts.config.loader import read_config
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.training.interrupt import Interrupted
from moefacts.training.logger import WANDB_ID, WandbMirror, id_of_mirror
from moefacts.training.loop import Trainer


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package that keeps the arguments of every start."""
    started = []

    def init(**arguments):
        started.append(arguments)
        files = arguments["dir"] / "wandb" / f"offline-run-{len(started)}" / "files"
        return types.SimpleNamespace(log=lambda values, step: None, finish=lambda: None, dir=str(files))

    module = types.SimpleNamespace(init=init, Settings=lambda **settings: settings)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return started


def test_a_killed_and_resumed_run_keeps_its_id(tmp_path, make_config, wandb, monkeypatch):
    config = make_config(f"run.dir={tmp_path}/run", "wandb.mode=offline")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", lambda *_: (_ for _ in ()).throw(Interrupted(15, 0)))
        with pytest.raises(Interrupted):
            execute(config)
    execute(read_config(tmp_path / "run" / layout.CONFIG))
    first, second = wandb
    assert first["id"] == second["id"] == read_manifest(tmp_path / "run")[WANDB_ID]
    assert second["resume"] == "allow"


@pytest.mark.parametrize(("mode", "said"), [("offline", 1), ("online", 0)])
def test_who_mirrors_offline_is_told_how_to_send_it(tmp_path, make_config, wandb, capsys, monkeypatch, mode, said):
    monkeypatch.chdir(tmp_path)
    mirror = WandbMirror(make_config(f"wandb.mode={mode}").wandb, tmp_path / "my run", {}, "0" * 16)
    mirror.log({"step": 1, "loss": 2.0})
    mirror.close()
    line = "kept for W&B; to send it: wandb sync 'my run/wandb/offline-run-1'\n"
    assert capsys.readouterr().err == said * line


def test_runs_have_different_ids_and_one_without_a_mirror_has_none(make_config):
    config = make_config("wandb.mode=offline").wandb
    assert id_of_mirror(config, None) != id_of_mirror(config, None)
    assert id_of_mirror(make_config().wandb, "0123456789abcdef") is None


@pytest.mark.parametrize("stored", ["../../x", 5, None, "", ["a"]])
def test_what_is_stored_is_used_only_if_it_is_an_id(make_config, stored):
    assert id_of_mirror(make_config("wandb.mode=offline").wandb, stored) != stored
