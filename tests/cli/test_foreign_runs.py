"""Somebody else's run directory: it reaches no secret, no network, no other folder, and no more memory than it should."""

import pickle
import time

import pytest

from moefacts.cli import train
from moefacts.config.loader import config_yaml, load_config, read_config
from moefacts.errors import UserError
from moefacts.runs import layout
from tests.conftest import TINY, tiny_config


@pytest.fixture
def stored(tmp_path):
    """Write a stored config with one text replaced, and read it."""

    def read(old="", new="", text=None):
        whole = config_yaml(tiny_config())
        assert old in whole
        (tmp_path / layout.CONFIG).write_text(text or whole.replace(old, new, 1))
        return read_config(tmp_path / layout.CONFIG)

    return read


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("study: train", "study: ${oc.env:HOME}"),
        ("cohorts: null", "cohorts: {a: {part_of: '${oc.env:HOME}'}}"),
        ("  - unseen", "  - ${oc.env:HOME}"),
        ("format: 2", "format: ${oc.env:HOME}"),
        ("entity: null", "entity: x${seed}"),
    ],
)
def test_an_interpolation_is_refused_before_it_is_resolved(stored, monkeypatch, old, new):
    monkeypatch.setenv("HOME", "a secret")
    with pytest.raises(UserError) as error:
        stored(old, new)
    assert "is an interpolation" in str(error.value)
    assert "a secret" not in str(error.value)


def test_nothing_that_would_be_an_interpolation_is_stored():
    values = {"run": {"study": r"\${oc.env:HOME}"}}
    from omegaconf import OmegaConf

    with pytest.raises(UserError, match="run.study=.* is an interpolation"):
        load_config(OmegaConf.merge(OmegaConf.structured(tiny_config()), values))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &a [x, x]\nb: [*a, *a]\n", "line 2 has an alias"),
        ("[" * 200_000, "nested deeper than 32"),
        ("a: " * 1 + "{a: " * 5000, "nested deeper than 32"),
        ("#" * (1 << 20) + "\n", "more than 1,048,576 bytes"),
        ("!!python/object/apply:os.system ['true']", "cannot be read as a config"),
        ("- 1", "it holds no settings"),
    ],
)
def test_a_yaml_bomb_is_refused_quickly(stored, text, complaint):
    before = time.process_time()
    with pytest.raises(UserError, match=complaint):
        stored(text=text)
    assert time.process_time() - before < 20


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("population:\n", "population: 3\nx:\n", "population: got 3, expected a section of settings"),
        ("  moe: null", "  moe: [1]", r"model.moe: got \[1\], expected a section of settings"),
    ],
)
def test_a_section_that_is_none_is_named(stored, tmp_path, old, new, complaint):
    with pytest.raises(UserError, match=f"^{tmp_path}/{layout.CONFIG}: {complaint}"):
        stored(old, new)


@pytest.mark.parametrize("name", ["../../../evil", "/evil", "..", "a/b", ""])
def test_a_preset_is_no_path(fails, stored, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert f"model.preset={name} must be the name of a preset" in fails("train", *TINY, f"model.preset='{name}'")
    for key in ("scale: laptop", "preset: dense_laptop"):
        with pytest.raises(UserError, match="must be the name of a preset"):
            stored(key, f"{key.partition(':')[0]}: '{name}'")
    assert list(tmp_path.rglob("*evil*")) == []


def test_a_resumed_run_talks_to_the_network_only_if_the_command_says_so(monkeypatch, capsys, finished_run):
    path = finished_run / layout.CONFIG
    path.write_text(path.read_text().replace("mode: disabled", "mode: online").replace("entity: null", "entity: thief"))
    seen = []
    monkeypatch.setattr(train, "_train_one", lambda config, extend: seen.append(config))
    train._resume(finished_run, [])
    assert (seen[0].wandb.mode, seen[0].wandb.entity) == ("disabled", None)
    assert "not mirrored to W&B; add wandb.mode=online" in capsys.readouterr().err
    train._resume(finished_run, ["wandb.mode=offline", "wandb.project=mine"])
    assert (seen[1].wandb.mode, seen[1].wandb.project, seen[1].wandb.entity) == ("offline", "mine", None)
    with pytest.raises(UserError, match="leave out seed=1"):
        train._resume(finished_run, ["wandb.mode=offline", "seed=1"])


class _Evil:
    def __reduce__(self):
        return (open, ("evil", "w"))


@pytest.mark.parametrize("option", ["--experimental-rerun", "--experimental-re"])
@pytest.mark.parametrize("command", ["train", "generate"])
def test_a_pickled_configuration_is_never_opened(fails, tmp_path, monkeypatch, command, option):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.pickle").write_bytes(pickle.dumps(_Evil()))
    assert "unpickles" in fails(command, option, "config.pickle")
    assert not (tmp_path / "evil").exists()
