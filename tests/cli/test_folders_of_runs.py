"""``moefacts analyze`` takes a folder of runs, such as a study's."""

import io
import json
import shutil

import pytest
from rich.console import Console
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.cli import output
from moefacts.cli.table_parts import print_in_parts
from moefacts.runs import layout


@pytest.fixture
def study(finished_run, tmp_path):
    """A folder with a finished run, an unfinished one, and two that are damaged, one of them at first sight."""
    for name in ("finished", "stopped", "no_settings", "no_number"):
        shutil.copytree(finished_run, tmp_path / "study" / name)
    manifest = tmp_path / "study" / "stopped" / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"finished"', '"interrupted"'))
    (tmp_path / "study" / "no_settings" / layout.CONFIG).write_text("seed: [")
    metrics = tmp_path / "study" / "no_number" / layout.METRICS
    metrics.write_text(metrics.read_text().replace('"step": 4', '"step": "four"', 1))
    return tmp_path / "study"


def test_the_finished_runs_of_a_folder_are_analyzed_and_all_others_named(study):
    result = CliRunner().invoke(cli.app, ["analyze", str(study), "--json", "--no-report"])
    assert result.exit_code == 0, result.output
    assert [run["path"] for run in json.loads(result.stdout)["runs"]] == [str(study / "finished")]
    notes = result.stderr.splitlines()
    assert f"moefacts: {study / 'stopped'} is left out: it is not finished (interrupted)" in notes
    for name in ("no_settings", "no_number"):
        (note,) = (one for one in notes if f"{study / name} is left out: it is damaged: " in one)
        assert str(study / name) in note.partition("damaged: ")[2]


def test_a_folder_without_a_finished_run_is_refused_in_one_line(fails, study, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is not a run directory, and none is in it" in fails("analyze", tmp_path / "empty")
    shutil.rmtree(study / "finished")
    for name in ("no_settings", "no_number"):
        shutil.rmtree(study / name)
    result = CliRunner().invoke(cli.app, ["analyze", str(study), "--no-report"])
    assert f"none of the 1 runs in {study} is finished and whole" in str(result.exception)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_table_of_many_columns_comes_in_parts_that_fit(monkeypatch, width):
    screen = Console(file=io.StringIO(), width=width, color_system=None)
    monkeypatch.setattr(output, "console", lambda: screen)
    header = ["measure", *(f"learning_rate={number}e-3, size=1024 (3 runs)" for number in range(7))]
    rows = [[f"measure_{row}", *(f"{row}.{number}25 ± 0.5" for number in range(7))] for row in range(4)]
    print_in_parts(header, rows)
    shown = screen.file.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    assert all(cell in shown for row in rows for cell in row)
    assert shown.count("measure_3") == shown.count("\n\n") + 1 == {60: 4, 80: 3, 200: 1}[width]
