"""Odd values and options on the command line get one line that says what would be right, and change nothing."""

import os
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moefacts.config.fields import config_keys
from moefacts.config.schema import RunConfig
from tests.conftest import TINY

MOE = ("model=moe_laptop", "model.moe.d_expert=16")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("scale=null",), "there is no scale 'null'"),
        (("model=null",), "there is no model 'null'"),
        (("scale=1",), "there is no scale '1'"),
        (("population.size=9223372036854775808",), "population.size=9223372036854775808 is too large"),
        (("training.batch_size=9223372036854775808",), "training.batch_size=9223372036854775808 is too large"),
        (("model.d_model=9223372036854775808",), "model.d_model=9223372036854775808 is too large"),
        (("dataset.train=9223372036854775808",), "dataset.train=9223372036854775808 is too large"),
        (("model.num_layers=100000",), "model.num_layers=100000 is too large; it must be at most 10000"),
        (("threads=1000000",), "threads=1000000 is too large; it must be at most 1024"),
        (("training.compile=9223372036854775807",), "must be true or false"),
        (("training.learning_rate=nan",), "training.learning_rate=nan must be finite"),
        (("training.weight_decay=1e30",), "training.weight_decay=1e+30 is too large"),
        (("checkpoints.num_uniform=1000000000", "training.steps=2000000"), "checkpoints.num_uniform=1000000000 is too"),
        (("-m", "seed=range(0,100000000)"), "-m would make 100,000,000 runs of these values, more than 10,000"),
        (("-m", "seed=range(0,5,0)"), "-m would make unlimited runs"),
        (("training.batch_size=1000000000",), "lower training.batch_size"),
        (("evaluation.biographies=1000000000",), "lower evaluation.biographies"),
        (("model.d_model=100000000",), "lower model.d_model"),
        (("--resolve",), "--resolve says what --cfg shows"),
        (("--package", "model"), "--package says what --cfg shows"),
        (("--shell-completion", "install=bash"), "use moefacts --install-completion"),
        (("--run", "--multirun"), "--run and --multirun exclude each other"),
        (("--experimental-rerun", "x.pickle"), "it unpickles a file"),
        (("--info", "nothing"), "invalid choice: 'nothing'"),
        (("run.name=a'b",), "put text with special characters into quotes"),
        (("training.steps=é",), "put text with special characters into quotes"),
        (("run.name='a\tb'",), "has a character that cannot be printed"),
    ],
    ids=str,
)
def test_a_value_or_option_that_makes_no_sense_is_refused_at_once(fails, tmp_path, arguments, answer):
    assert answer in fails("train", *TINY, f"run.root={tmp_path}", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["nan", "inf", "1e30"])
@pytest.mark.parametrize(
    "key", ["capacity_factor", *(f"balance.{key}" for key in ("bias_rate", "importance", "token_balance", "z_loss"))]
)
def test_a_weight_of_a_mixture_is_a_number_that_one_can_compute_with(fails, tmp_path, key, value):
    line = fails("train", *TINY, *MOE, f"run.root={tmp_path}", f"model.moe.{key}={value}")
    assert f"model.moe.{key}={float(value)}" in line
    assert "is too large" in line or "must be finite" in line


@pytest.mark.parametrize(
    "arguments",
    [("generate", "--out", ""), ("export", "run", "--out", ""), ("analyze", "run", "--out", ""), ("list", "--root", ""),
     ("reproduce", "phases", "--out", ""), ("train", "--resume", "")],
    ids=str,
)  # fmt: skip
def test_an_empty_name_is_no_folder(fails, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "a folder was given as ''" in fails(*arguments)


@pytest.mark.parametrize("out", [".", "./"])
@pytest.mark.parametrize("command", [("generate",), ("export", "run")], ids=str)
def test_what_appears_whole_cannot_replace_the_folder_one_is_in(fails, tmp_path, monkeypatch, command, out):
    monkeypatch.chdir(tmp_path)
    assert "is the folder you are in; name a new one" in fails(*command, "--out", out)


def test_a_folder_that_is_too_long_is_refused_by_the_name_of_its_option(fails):
    assert "--out " + "x" * 300 + " is too long" in fails("reproduce", "phases", "--out", "x" * 300, "--report")


def test_as_many_checkpoints_as_steps_are_simply_all(make_config):
    from moefacts.training.checkpoint import checkpoint_schedule

    config = make_config("checkpoints.num_uniform=1000000000", "checkpoints.interval_until=0", "training.steps=3000")
    assert checkpoint_schedule(config.checkpoints, 3000) == set(range(3001))


@pytest.fixture(scope="module")
def trained_without_training():
    """Replace what trains by the checks that it begins with, for all examples of a test."""
    from moefacts.experiments.tasks import train
    from moefacts.experiments.tasks.memory import check_memory, need_of_training
    from moefacts.runs.location import run_directory

    def execute(config, extend=False):
        check_memory(need_of_training(config))
        return run_directory(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "execute", execute)
        yield


ODD = ("nan", "inf", "-inf", "1e30", "-1e30", "1e400", str(1 << 63), "9" * 50, "9" * 5000, "-1", "0", "", "''", "null",
       "'a b'", "a b", "é", "Bogotá", "\udcff", "[[1,[2]],{a:[b]}]", "{a:{b:[c]}}", "[]", "{}", "${seed}", "${no.such}",
       "true", "1.5", "~/x", "../x", "/", ".", "a,b", "range(0,3)", "range(0,3,0)", "glob(*)", "*", "'", '"', "\\", "#",
       "a=b", "-", "$", "(", "choice(1,2)", "1_0", "0x10", "007", "???", "[red]x[/red]", "x" * 300)  # fmt: skip
PREFIXES = ("", "", "", "+", "++", "~")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    overrides=st.lists(
        st.builds(
            lambda prefix, key, value: f"{prefix}{key}={value}",
            st.sampled_from(PREFIXES),
            st.sampled_from([*config_keys(RunConfig), "scale", "model", "run", "population", "hydra.job.name", "é"]),
            st.sampled_from(ODD) | st.text(max_size=8).filter(lambda text: "\0" not in text),
        ),
        min_size=1,
        max_size=2,
    ),
    multirun=st.booleans(),
)
@example(overrides=["training.learning_rate=" + "9" * 400], multirun=False)
@example(overrides=["scale@x=1"], multirun=False)
@example(overrides=["run.dir=007"], multirun=False)
@example(overrides=["run.dir=007"], multirun=True)
def test_any_override_works_or_gets_one_line(
    trained_without_training, tmp_path, monkeypatch, capsys, overrides, multirun
):
    from moefacts.cli import app as cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["moefacts", "train", *TINY, *overrides, *(["-m"] if multirun else [])])
    capsys.readouterr()  # of the example before, should it have failed
    with pytest.raises(SystemExit) as ended:
        cli.main()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert (ended.value.code, lines[0].startswith("next: moefacts analyze ")) in ((0, True), (2, False)), lines
    assert os.listdir(tmp_path) in ([], ["runs"])  # a sweep makes the folder of Hydra's own files


def test_more_biographies_than_the_disk_holds_are_refused_before_anything_is_written(fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = fails("generate", *TINY[:12], "dataset.train=100000000000", "--out", "people")
    assert "biographies take about" in line
    assert line.endswith("lower dataset.train")
    assert not list(tmp_path.iterdir())


def test_a_preview_is_no_dataset(fails):
    assert "less than or equal to 10000" in fails("generate", "--preview", 100_000_000)
