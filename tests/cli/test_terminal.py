"""What the terminal shows is whole: tables in pipes, names at 80 columns, and the help of train."""

import dataclasses
import io
import shutil

import pytest
from rich.console import Console
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.cli import output
from moefacts.config.overrides import GROUPS
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.studies.catalog import STUDIES, find_studies


@pytest.fixture
def long_named(finished_run, tmp_path):
    """A run in a folder with a long name."""
    return shutil.copytree(finished_run, tmp_path / ("a-run-with-a-long-name-" * 9) / ("and-a-longer-one-" * 9))


def test_tables_in_a_pipe_are_not_cut_whatever_the_columns(long_named, tmp_path):
    result = CliRunner().invoke(cli.app, ["list", "--root", str(tmp_path)], env={"COLUMNS": "80"})
    assert f"{long_named}  finished  12/12" in result.stdout


def test_names_at_80_columns_are_folded_and_not_cut(long_named, tmp_path, monkeypatch):
    screen = Console(file=io.StringIO(), width=80, markup=False, emoji=False)
    monkeypatch.setattr(output, "console", lambda: screen)
    assert CliRunner().invoke(cli.app, ["list", "--root", str(tmp_path)]).exit_code == 0
    shown = screen.file.getvalue()
    assert "…" not in shown.replace("\N{HORIZONTAL ELLIPSIS}, …", "")
    assert max(map(len, shown.splitlines())) <= 80
    runs = shown[shown.index("\nrun ") :].splitlines()
    first_column = "".join(line.split(" ")[0] for line in runs[2:])
    assert first_column == str(long_named)


def test_the_help_of_train_names_hydras_options_and_every_setting():
    shown = " ".join(CliRunner().invoke(cli.app, ["train", "--help"], env={"COLUMNS": "200"}).stdout.split())
    assert all(option in shown for option in ("-m", "--multirun", "--cfg", "-cd", "--config-dir", "--hydra-help"))
    listed = set(shown.partition("Settings: ")[2].partition("One run on several")[0].replace(",", " ").split())
    assert listed - {"and", "the", "groups"} == {field.name for field in dataclasses.fields(RunConfig)} - {"scale"}
    assert all(f"{group}=NAME" in shown for group in GROUPS)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_found_however_its_name_is_spelt(name):
    scale = next(iter(STUDIES[name].grids))
    for spelt in (name, name.replace("_", "-"), name.replace("-", "_")):
        assert find_studies(spelt, scale) == [STUDIES[name]]
    with pytest.raises(UserError, match="there is no study"):
        find_studies(f"{name}-", scale)


def test_an_experiment_of_the_examples_is_found_by_name():
    arguments = ["train", "-cd", "examples/conf", "+experiment=first_mixture", "--cfg", "job"]
    shown = CliRunner().invoke(cli.app, arguments)
    assert shown.exit_code == 0, shown.exception
