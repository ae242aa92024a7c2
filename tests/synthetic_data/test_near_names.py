"""Names that are like a given one, against a comparison with every person's name."""

from difflib import SequenceMatcher

import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.synthetic_data.near_names import hint, near_names
from moefacts.synthetic_data.population import build_population
from tests.conftest import tiny_config


def misspelt(name):
    return name[0] + name[1:].replace(name[1], "x", 1)


@pytest.mark.parametrize("individual", [0, 17, 60])
def test_a_misspelt_name_is_nearest_to_its_own(population, individual):
    name = population.full_name(individual)
    assert near_names(population, misspelt(name))[0] == name
    assert near_names(population, name.lower())[0] == name
    first, _, last = name.split()
    assert name in near_names(population, f"{first} {last}", count=len(population))


def test_names_are_in_the_order_of_their_likeness(population):
    wanted = misspelt(population.full_name(3))

    def likeness(name):
        pairs = zip(wanted.lower().split(), name.lower().split(), strict=True)
        return sum(SequenceMatcher(None, left, right, autojunk=False).ratio() for left, right in pairs) / 3

    expected = sorted(map(population.full_name, range(len(population))), key=lambda name: -likeness(name))
    found = near_names(population, wanted, count=5)
    assert [likeness(name) for name in found] == pytest.approx([likeness(name) for name in expected[: len(found)]])


def test_nothing_is_like_what_is_no_name(population):
    assert near_names(population, "Xyzzyx Qwrtz Vvkpq") == []
    assert near_names(population, "one") == near_names(population, "a b c d") == []
    assert hint(population, "one") == ""
    name = population.full_name(0)
    assert hint(population, misspelt(name)).startswith(f"; did you mean '{name}'")


def test_ask_names_those_who_are_near(finished_run):
    people = build_population(tiny_config().population, seed=0)
    name = people.full_name(5)
    first, middle, last = name.split()
    wrong = next(one for one in people.pools.first_names if one != first)
    nobody = f"{wrong} {middle} {last}"
    assert people.find(nobody) is None
    result = CliRunner().invoke(cli.app, ["ask", str(finished_run), nobody, misspelt(name)])
    assert result.exit_code == 2  # the second has a word that the model does not know
    first_line, second_line = result.stderr.splitlines()
    assert f"nobody has the name '{nobody}'; did you mean '" in first_line
    assert f"'{name}'" in second_line
