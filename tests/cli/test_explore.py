"""``moefacts explore`` says where the page is, and refuses what cannot be shown in one line."""

import shutil
import sys

import pytest

from moefacts.cli import app as cli


def test_it_ends_with_the_page_and_what_to_do_next(finished_run, population, monkeypatch, capsys, tmp_path):
    out = tmp_path / "one.html"
    name = population.full_name(3)
    arguments = ["--name", name, "--steps", "0,12", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["moefacts", "explore", str(finished_run), *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"page: {out} (1 person at 2 checkpoints, 0.0")
    assert second.startswith("open it in a browser")
    assert name in out.read_text()
    assert not (finished_run / "explore.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--people", "0"], "'--people'"),
        (["--steps", "7"], "no checkpoint of step 7; there are [0, 4, 8, 12]"),
        (["--steps", "0,last"], "--steps '0,last' must be whole numbers with commas between them"),
        (["--name", "Nobody At All"], "has the name 'Nobody At All'"),
        (["--name", "One"], "has the name 'One'"),
        (["--out", "."], "--out . is a folder; name a file"),
        (["--out", "none/page.html"], "--out none/page.html is in none, which is no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_shown_is_one_line_and_leaves_nothing(finished_run, fails, arguments, said):
    before = sorted(path.name for path in finished_run.iterdir())
    assert said in fails("explore", finished_run, *arguments)
    assert sorted(path.name for path in finished_run.iterdir()) == before


def test_a_name_that_nobody_has_comes_with_names_like_it(finished_run, population, fails):
    name = population.full_name(3)
    assert f"did you mean '{name}'" in fails("explore", finished_run, "--name", f"{name}x")


def test_a_run_without_checkpoints_has_no_page(finished_run, fails):
    shutil.rmtree(finished_run / "checkpoints")
    assert "has no checkpoint yet" in fails("explore", finished_run)
    assert not (finished_run / "explore.html").exists()
