"""Numbers of verdicts in their units."""

import math

import pytest

from moefacts.analysis.forest import effect_text, forest, lead
from moefacts.analysis.unit import NUMBER, POINTS, RATIO, SHARE, Unit
from moefacts.experiments.studies.catalog import STUDIES


@pytest.mark.parametrize(
    ("kind", "value", "interval", "text"),
    [
        (RATIO, math.log(0.93), (math.log(0.9), math.log(0.97)), "×0.930 [0.900, 0.970] it"),
        (RATIO, math.log(0.48), (-math.inf, math.log(0.52)), "×0.480 [0, 0.520] it"),
        (RATIO, math.log(1.25), (math.log(1.1), math.inf), "×1.25 [1.10, ∞] it"),
        (POINTS, 0.0689, (0.0179, 0.12), "+6.9 points [1.8, 12.0] it"),
        (POINTS, -0.209, (-0.265, -0.154), "-20.9 points [-26.5, -15.4] it"),
        (SHARE, 0.677, (0.642, 0.712), "67.7% [64.2, 71.2] it"),
        (NUMBER, 0.379, (0.22, 0.54), "0.38 [0.22, 0.54] it"),
        (NUMBER, -0.3, (-math.inf, -0.2), "-0.30 [-∞, -0.20] it"),
        (NUMBER, 2.0, (2.0, 2.0), "2.000 [2.000, 2.000] it"),
    ],
)
def test_a_number_reads_in_its_unit_in_the_digits_that_its_interval_allows(kind, value, interval, text):
    assert Unit(kind, "it").text(value, interval) == text


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'percent'; it is one of ratio, points, share, number"):
        Unit("percent", "it")


def claim(unit, value, interval):
    here = f"{value:.3g} [{interval[0]:.3g}, {interval[1]:.3g}] over 7 pairs"
    row = {"claim": "It ends earlier", "verdict": "holds", "value": value, "interval": list(interval), "here": here}
    return row | {"published": "none", "rule": "Holds if …", "unit": vars(unit)}


def test_what_was_found_and_its_drawing_are_in_the_unit_of_the_claim():
    found = claim(Unit(RATIO, "the steps"), -0.0692, (-0.1031, -0.0353))
    assert effect_text(found) == "×0.933 [0.902, 0.965] the steps over 7 pairs"
    assert lead([found]) == "“It ends earlier” holds: ×0.933 [0.902, 0.965] the steps over 7 pairs."
    (row,) = forest([found])
    assert ">×0.902</text>" in row.svg
    assert ">×1</text>" in row.svg
    assert "beside ×1</title>" in row.svg
    alone = found | {"interval": None, "here": "-0.0692 (no interval: too few seeds)"}
    assert effect_text(alone) == "×0.933 the steps (no interval: too few seeds)"
    (points,) = forest([claim(Unit(POINTS, "of accuracy"), 0.265, (0.19, 0.339))])
    assert points.effect == "+26.5 points [19.0, 33.9] of accuracy over 7 pairs"
    assert [">0</text>" in points.svg, ">34</text>" in points.svg] == [True, True]


@pytest.mark.parametrize("name", STUDIES)
def test_a_log_ratio_is_shown_as_a_ratio_and_nothing_else_is(name):
    for claims in STUDIES[name].claims.values():
        for one in claims:
            if one.unit is not None:
                is_ratio = "log ratio" in one.rule.lower() and not one.rule.startswith("Slope of the log ratio")
                assert (one.unit.kind == RATIO) == is_ratio, one.text


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [(RATIO, -math.inf, "0"), (NUMBER, math.inf, "∞"), (POINTS, 0.123, "12.3 points"), (SHARE, 0.5, "50%")],
)
def test_a_number_without_an_interval_has_its_unit_too(kind, value, text):
    assert Unit(kind, "it").value(value) == text
