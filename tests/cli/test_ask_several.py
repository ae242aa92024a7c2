"""``moefacts ask`` about several people, some of whom cannot be asked about."""

import json
import sys

import pytest

from moefacts.cli import app as cli


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["table", "json"])
def test_who_cannot_be_asked_about_does_not_keep_the_others_from_being_answered(
    trained_once, population, monkeypatch, capsys, more
):
    known = population.full_name(0)
    asked = ["Xyz Betty Harris", known, "one two"]
    monkeypatch.setattr(sys, "argv", ["moefacts", "ask", str(trained_once), *asked, *more])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    first, second = printed.err.splitlines()
    assert "'Xyz' contains a word that is not in this run's vocabulary" in first
    assert "'one two' is not a full name" in second
    answered = [reply["name"] for reply in json.loads(printed.out)] if more else [known]
    assert answered == [known]
    assert known in printed.out
