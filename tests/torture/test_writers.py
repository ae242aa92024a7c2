"""A few of the pairs that ``python -m tests.torture writers`` tries by the hundred."""

import pytest

from tests.torture import commands, writers


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return writers.prepare(tmp_path_factory.mktemp("pairs"), "generate", "train", "export")


@pytest.mark.parametrize("share", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_of_two_writers_one_wins_or_both_get_the_same(pairs, tmp_path, share):
    found = [writers.failure(pair, share * pair.seconds, tmp_path / "shared") for pair in pairs]
    assert not [wrong for wrong in found if wrong]


def test_a_mixture_of_two_writers_would_be_found(tmp_path):
    done = [commands.Outcome(0, "", "")] * 2
    failed = commands.Outcome(2, "", "moefacts: taken\n")
    pair = writers.Pair("mixed", None, ((), ()), ({"file": "one"}, {"file": "two"}), 0.0)
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").write_text("three")
    assert "not with the same: file differs" in writers._what_is_wrong(pair, done, place)
    assert writers._what_is_wrong(pair, [done[0], failed], place) == "file differs"
    assert "neither succeeds" in writers._what_is_wrong(pair, [failed, failed], place)
    unclear = commands.Outcome(None, "", "Traceback (most recent call last):\n")
    assert "no clear line" in writers._what_is_wrong(pair, [done[0], unclear], place)
