"""What the terminal shows is whole: tables in pipes, names at 80 columns, and the help of train."""

import dataclasses
import io
import json
import shutil

import pytest
from rich.console import Console
from typer.testing import CliRunner

from moefacts.analysis.summary import measure_run
from moefacts.cli import app as cli
from moefacts.cli import output
from moefacts.config.preset_files import GROUPS
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.studies.catalog import STUDIES, find_studies
from moefacts.experiments.studies.titles import study_titles
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest, sha256_of
from moefacts.runs.reader import read_run


@pytest.fixture
def long_named(finished_run, tmp_path):
    """A run in a folder with a long name."""
    return shutil.copytree(finished_run, tmp_path / ("a-run-with-a-long-name-" * 9) / ("and-a-longer-one-" * 9))


def on_a_terminal(monkeypatch, *arguments):
    """What a command shows in a terminal of 80 columns."""
    screen = Console(file=io.StringIO(), width=80, markup=False, emoji=False, force_terminal=True, color_system=None)
    monkeypatch.setattr(output, "console", lambda: screen)
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    return screen.file.getvalue()


def test_tables_in_a_pipe_are_not_cut_whatever_the_columns(long_named, tmp_path):
    result = CliRunner().invoke(cli.app, ["list", "--root", str(tmp_path)], env={"COLUMNS": "80"})
    assert f"{long_named}  finished  12/12" in result.stdout


def test_names_at_80_columns_are_folded_and_not_cut(long_named, tmp_path, monkeypatch):
    shown = on_a_terminal(monkeypatch, "list", "--root", str(tmp_path))
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    table = shown[shown.index("\nrun ") :].partition("\n\n")[0].splitlines()
    assert "".join(line.split(" ")[0] for line in table[2:]) == long_named.name
    assert str(long_named.parent) in shown.replace("\n", "")


@pytest.fixture
def two_rates(finished_run, tmp_path):
    """Two runs that differ in their learning rate, a copy of the first, and a damaged one."""
    for name, rate in (("a", "0.006"), ("b", "0.0125"), ("copy", "0.006"), ("damaged", "0.006")):
        config = shutil.copytree(finished_run, tmp_path / name) / layout.CONFIG
        config.write_text(config.read_text().replace(" learning_rate: 0.006", f" learning_rate: {rate}"))
        manifest = read_manifest(tmp_path / name) | {"config_sha256": sha256_of(config), "plateau_end": 7}
        (tmp_path / name / layout.MANIFEST).write_text(json.dumps(manifest))
    config.write_text(config.read_text().replace(" learning_rate: 0.006", " learning_rate: fast"))
    return tmp_path


def test_a_list_says_what_differs_and_what_every_run_came_to(two_rates, monkeypatch):
    shown = on_a_terminal(monkeypatch, "list", "--root", str(two_rates))
    assert max(map(len, shown.splitlines())) <= 80
    assert f"{two_rates}: 4 runs, preset=dense_laptop, size=48, seed=0 " in " ".join(shown.split())
    lines = {line.split()[0]: line for line in shown.splitlines() if "12/12" in line}
    measured = measure_run(read_run(two_rates / "a"))
    unseen = f"{measured['unseen_final_loss_over_baseline']:.2f}"
    results = ["7", f"{100 * measured['final_attribute_accuracy']:.1f}%", unseen]
    assert lines["a"].split() == ["a", "finished", "12/12", "learning_rate=0.006", *results]
    assert lines["b"].split()[3] == "learning_rate=0.0125"
    assert lines["copy"].split()[1:] == lines["a"].split()[1:]
    assert "training.learning_rate" in shown.partition("\ndamaged: ")[2]


def test_a_list_in_a_pipe_has_whole_paths_and_everything_in_one_line(two_rates):
    shown = CliRunner().invoke(cli.app, ["list", "--root", str(two_rates)], env={"COLUMNS": "80"}).stdout
    assert f"{two_rates / 'b'} " in shown
    (line,) = (line for line in shown.splitlines() if line.startswith(f"{two_rates / 'b'} "))
    assert "  48      dense_laptop  0     learning_rate=0.0125 " in line


def test_what_is_wrong_with_a_run_stands_in_a_column_of_that_name_in_a_pipe(two_rates):
    shown = CliRunner().invoke(cli.app, ["list", "--root", str(two_rates)]).stdout.splitlines()
    (header,) = (line for line in shown if line.startswith("run "))
    (line,) = (line for line in shown if line.startswith(f"{two_rates / 'damaged'} "))
    assert header.split()[-1] == "note"
    at = header.index("note")
    assert line[:at].split() == [str(two_rates / "damaged"), "damaged"]
    assert line[at:].startswith(str(two_rates / "damaged" / layout.CONFIG))


def test_the_help_of_train_names_hydras_options_and_every_setting():
    shown = " ".join(CliRunner().invoke(cli.app, ["train", "--help"], env={"COLUMNS": "200"}).stdout.split())
    assert all(option in shown for option in ("-m", "--multirun", "--cfg", "-cd", "--config-dir", "--hydra-help"))
    listed = set(shown.partition("Settings: ")[2].partition("One run on several")[0].replace(",", " ").split())
    assert listed - {"and", "the", "groups"} == {field.name for field in dataclasses.fields(RunConfig)} - {"scale"}
    assert all(f"{group}=NAME" in shown for group in GROUPS)


def test_the_list_of_studies_is_the_catalog():
    titled = {study.name: (study.figure, study.title) for study in study_titles()}
    assert titled == {name: (study.figure, study.title) for name, study in STUDIES.items()}


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
