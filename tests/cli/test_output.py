"""Names are shown as they are, in whatever encoding the output has, and JSON is JSON."""

import json
import shutil

import matplotlib.pyplot as plt
import pytest

from moefacts.analysis.groups import Group
from moefacts.cli.output import json_text
from tests.cli.process import moefacts
from tests.conftest import TINY


@pytest.fixture
def show(monkeypatch, capsys):
    """Run a command in this process and return what it prints."""
    import sys

    from moefacts.cli import app as cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["moefacts", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", ["run[lr=1e-3]", "run[seed]", "[bold]x[/bold]", "[/]", ":smile:"])
def test_no_name_is_markup(show, finished_run, tmp_path, name):
    shutil.copytree(finished_run, tmp_path / name)
    assert f"{tmp_path / name} " in show("list", "--root", tmp_path)


def test_no_label_is_markup_or_a_formula(show, finished_run, tmp_path):
    copies = [tmp_path / "a", tmp_path / "b"]
    for copy, preset in zip(copies, ("x[red]", r"$\frac$"), strict=True):
        shutil.copytree(finished_run, copy)
        config = (copy / "config.yaml").read_text()
        (copy / "config.yaml").write_text(config.replace("preset: dense_laptop", f"preset: '{preset}'"))
    shown = show("analyze", *copies, "--no-report")
    assert "preset=x[red]" in shown
    assert r"preset=$\frac$" in shown
    figure = plt.figure()
    figure.text(0, 0, Group(r"preset=$\frac$", []).drawn_label)
    figure.canvas.draw()  # a formula that is none would raise
    plt.close(figure)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("generate", *TINY, "--preview", "3"),
        ("ask", "Nobody Knows Them"),
        pytest.param(("train", *TINY, "--cfg", "job"), marks=pytest.mark.slow),
    ],
    ids=lambda arguments: arguments[0],
)
def test_output_never_dies_of_its_encoding(finished_run, tmp_path, arguments):
    command = arguments[0]
    if command == "ask":
        from moefacts.experiments.tasks.materials import load_run

        population = load_run(finished_run)[1].batcher.population
        arguments = ("ask", finished_run, population.full_name(0))
    elif command == "list":
        shutil.copytree(finished_run, tmp_path / "Bogotá")
        arguments = ("list", "--root", str(tmp_path))
    ended = moefacts(*map(str, arguments), environment={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.isascii()
    assert command != "list" or r"Bogot\xe1" in ended.stdout


def test_json_has_no_numbers_that_json_does_not_have():
    text = json_text({"a": [float("nan"), 1.5], "b": {"c": float("inf"), "d": None}})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, 1.5], "b": {"c": None, "d": None}}
