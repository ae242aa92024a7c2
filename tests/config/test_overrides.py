"""Text is what was typed, and every value survives being written as an override."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moefacts.config.overrides import as_typed, num_runs, parse, value_text
from moefacts.config.presets import overrides_of
from moefacts.runs.location import run_directory
from tests.conftest import tiny_config


@pytest.mark.parametrize(
    "name", ["1e3", "true", "007", "1.50", "1_0", "nan", "-5", "Bogotá", "a b", "a#b", "a=b", "50%"]
)
def test_the_name_of_a_study_and_of_a_run_stays_as_typed(name):
    config = tiny_config(f"run.study={name}", f"run.name={name}")
    assert str(run_directory(config)) == f"runs/{name}/{name}"


def test_quotes_are_kept_out_of_a_name_and_null_is_no_name():
    assert tiny_config("run.name='a b'").run.name == "a b"
    assert tiny_config("run.name=null").run.name is None


@pytest.mark.parametrize("key", ["run.dir", "run.root"])
@pytest.mark.parametrize("value", ["~/x", "'~/x'"])
def test_a_tilde_is_the_home_folder(key, value, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert getattr(tiny_config(f"{key}={value}").run, key.removeprefix("run.")) == "/home/me/x"


def test_several_names_are_several_runs():
    assert as_typed(["run.study=1e3,Bogotá, b"]) == ["run.study='1e3','Bogotá', b"]
    assert num_runs(as_typed(["run.study=1e3,Bogotá", "seed=range(0,10,3)", "scale=laptop"])) == 8


@pytest.mark.parametrize("name", ["1e3", "true", "null", "Bogotá", "it's", "007"])
def test_the_command_of_a_run_repeats_its_names(name):
    config = tiny_config()
    config.run.study = config.run.name = name
    overrides = overrides_of(config)
    assert overrides is not None
    assert any(override == f"run.study={value_text(name)}" for override in overrides)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_written_text_is_read_back_as_the_same_text(text):
    parsed = parse(f"key={value_text(text)}")
    assert parsed is not None
    assert parsed.value() == text
