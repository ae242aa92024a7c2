"""What the shell offers after TAB."""

from types import SimpleNamespace

import pytest

from moefacts.cli.completion import complete_override, complete_runs, complete_study
from moefacts.config.fields import config_keys
from moefacts.config.preset_files import settings_as_text
from moefacts.config.presets import compose
from moefacts.config.schema import RunConfig
from moefacts.experiments.studies.catalog import ALL, STUDIES
from tests.torture.commands import call


def offered(incomplete, *typed):
    return complete_override(SimpleNamespace(params={"overrides": typed}), incomplete)


def test_every_setting_is_offered_and_no_other():
    keys = {one.rstrip("=") for one in offered("")}
    assert keys == {*config_keys(RunConfig), "model"} - {"model.preset"}


def test_settings_come_with_the_values_that_the_presets_give_them():
    values = [f"{key}={value}" for key, value in settings_as_text("paper").items() if not key.startswith("model.moe.")]
    assert compose(["scale=paper", *values]) == compose(["scale=paper"])
    model = settings_as_text("paper", "moe_44m_switch")
    assert (model["model.d_model"], model["model.moe.num_experts"]) == ("512", "32")


@pytest.mark.parametrize(
    ("incomplete", "typed", "answer"),
    [
        ("training.ste", (), ["training.steps=", "training.steps=600"]),
        ("training.ste", ("scale=paper",), ["training.steps=", "training.steps=16000"]),
        ("training.ste", ("scale", "=", "paper"), ["training.steps=", "training.steps=16000"]),
        ("training.ste", ("scale=mine", "model=mine"), ["training.steps=", "training.steps=600"]),
        ("++training.be", (), ["++training.beta1=", "++training.beta2="]),
        ("training.compile=", (), ["training.compile=true", "training.compile=false"]),
        ("scale=la", (), ["scale=laptop"]),
        ("scale=paper,la", ("-m",), ["scale=paper,laptop"]),
        ("la", ("seed", "=", "1", "scale", "="), ["laptop"]),  # as bash has it
        ("", ("scale",), ["laptop", "paper", "workstation"]),  # bash, directly after the =
        ("training.sise=", (), []),
        ("x", ("=",), []),
        ("see", (), ["seed=", "seed=0"]),
    ],
)
def test_settings_and_presets(incomplete, typed, answer):
    assert offered(incomplete, *typed) == answer


def test_studies_come_with_their_titles():
    assert {name for name, _ in complete_study("")} == {*STUDIES, ALL}
    assert complete_study("plateau-law-l") == [("plateau-law-lr", STUDIES["plateau-law-lr"].title)]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/one", "runs/other", "my runs/of mine", "runs/study/first"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    (tmp_path / "runs" / "nothing").mkdir()
    (tmp_path / "runs" / "file").touch()


@pytest.mark.parametrize(
    ("incomplete", "answer"),
    [
        ("", ["my runs/", "runs/"]),
        ("ru", ["runs/one", "runs/other", "runs/study/"]),
        ("runs/o", ["runs/one", "runs/other"]),
        ("runs/st", ["runs/study/first"]),
        ("./runs/on", ["./runs/one"]),
        ("runs/n", []),
        ("nowhere/", []),
    ],
)
@pytest.mark.usefixtures("runs")
def test_only_folders_that_are_runs_or_hold_some(incomplete, answer):
    assert complete_runs(incomplete) == answer


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("train training.stop_at", "training.stop_at_accuracy=\ntraining.stop_at_accuracy=null"),
        ("train -m seed = 0,1 model = dense_44m_", "dense_44m_recurrent"),
        ("train scale =", "laptop\npaper\nworkstation"),
        ("train --resume runs/on", "runs/one"),
        ("finetune runs/one training.steps =", "600"),
        ("finetune runs/on", "runs/one"),
        ("reproduce plateau-law-m", "plateau-law-moe"),
        ("reproduce phases --scale paper threa", "threads=\nthreads=1"),
        ("generate dataset.rows", "dataset.rows_per_group=\ndataset.rows_per_group=20000"),
        *[
            (f"{command} m", r"my\ runs/of\ mine")
            for command in ("analyze", "ask", "explore", "export", "people", "sample")
        ],
        ("analyze runs/one runs/ot", "runs/other"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_bash_gets_it_from_the_command(monkeypatch, words, answer):
    for name, value in {"_MOEFACTS_COMPLETE": "complete_bash", "COMP_WORDS": f"moefacts {words}"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    ended = call()
    assert (ended.code, ended.stdout.strip()) == (0, answer), ended.stderr
