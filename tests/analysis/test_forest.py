"""Verdicts as text and as intervals beside zero."""

import json
import re
from pathlib import Path

import pytest

from moefacts.analysis.forest import effect_text, forest, lead
from moefacts.analysis.study_report import StudyPage, write_study_report

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*/*/results.json"))


def claim(verdict="holds", value=0.2654, interval=(0.1903, 0.3392), here="0.265 [0.19, 0.339] over 12 pairs", **more):
    interval = None if interval is None else list(interval)
    made = {"claim": "It <knows> more", "verdict": verdict, "value": value, "interval": interval, "here": here}
    return made | {"published": "none", "rule": "Holds if …"} | more


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.2654, (0.1903, 0.3392), "0.265 [0.190, 0.339] over 12 pairs"),
        (-12.345, (-20.0, -4.7), "−12.3 [−20.0, −4.7] over 12 pairs"),
        (1234.5, (834.0, 1635.0), "1,234 [834, 1,635] over 12 pairs"),
        (0.5, (0.5, 0.5), "0.500 [0.500, 0.500] over 12 pairs"),
    ],
)
def test_numbers_have_the_digits_that_their_interval_allows(value, interval, text):
    assert effect_text(claim(value=value, interval=interval)) == text


@pytest.mark.parametrize(
    ("here", "text"),
    [
        ("R² 0.98 [0.97, 0.99], bend +0.3 [+0.19, +0.34]", "R² 0.98 [0.97, 0.99], bend +0.3 [+0.19, +0.34]"),
        ("AICc -17.4, T0 + c·N^-1, 8-bit", "AICc −17.4, T0 + c·N^-1, 8-bit"),
        ("+0.2654 [0.19, 0.34]; [1, 2] besides", "0.265 [0.190, 0.339]; [1, 2] besides"),
    ],
)
def test_only_a_number_that_a_finding_begins_with_is_written_anew(here, text):
    assert effect_text(claim(here=here)) == text


@pytest.mark.parametrize("less", [{"interval": None}, {"value": None}, {"interval": (None, None)}])
def test_what_has_no_interval_shows_its_reason_and_no_drawing(less):
    (row,) = forest([claim("cannot tell", here="in 2 of 5 runs nothing was probed", **less)])
    assert row.effect == "in 2 of 5 runs nothing was probed"
    assert row.svg == ""


def places(svg):
    """Where zero, the ends of the interval and its middle are drawn."""
    zero, low, high = (
        float(x) for x in re.findall(r'<line x1="([\d.]+)"', svg) + re.findall(r'x2="([\d.]+)" y1="12', svg)
    )
    return zero, low, high, float(re.search(r'cx="([\d.]+)"', svg)[1])


@pytest.mark.parametrize(("interval", "order"), [((0.1, 0.3), "zlmh"), ((-0.3, -0.1), "lmhz"), ((-0.1, 0.3), "lzmh")])
def test_the_interval_is_drawn_on_its_side_of_zero(interval, order):
    (row,) = forest([claim(value=sum(interval) / 2, interval=interval)])
    zero, low, high, middle = places(row.svg)
    assert "".join(name for _, name in sorted([(zero, "z"), (low, "l"), (high, "h"), (middle, "m")])) == order
    assert "It &lt;knows&gt; more" in row.svg


def test_the_published_value_is_drawn_on_the_same_scale_and_the_scale_has_its_ends():
    (row,) = forest([claim(value=0.9, interval=(0.85, 0.95), published_value=0.81)])
    zero, low, high, _ = places(row.svg)
    published = float(re.search(r'<path d="M([\d.]+) ', row.svg)[1])
    assert zero < published < low
    assert (published - zero) / (high - zero) == pytest.approx(0.81 / 0.95, abs=0.01)
    assert "and the published 0.81</title>" in row.svg
    assert re.findall(r">([^<>]+)</text>", row.svg) == ["0", "0.95"]
    (below,) = forest([claim(value=-2.0, interval=(-3.25, -1.0))])
    assert re.findall(r">([^<>]+)</text>", below.svg) == ["−3.2", "0"]
    assert "<path" not in below.svg


@pytest.mark.parametrize("unknown", [None, float("inf"), float("nan")])
def test_an_end_that_is_not_known_is_an_arrow_at_the_edge(unknown):
    (row,) = forest([claim(value=0.93, interval=(0.9, unknown), here="0.93 [0.9, ∞] over 4 pairs")])
    zero, low, high, middle = places(row.svg)
    assert zero < low < middle < high == 218
    assert 'class="open" d="M212 8.0 L218 12.0' in row.svg
    assert row.effect == "0.930 [0.900, ∞] over 4 pairs"
    (below,) = forest([claim(value=-2.0, interval=(None, -1.5))])
    zero, low, _, middle = places(below.svg)
    assert 2 == low < middle < zero
    assert "−2.00 [−∞, −1.50]" in below.effect


def test_the_lead_says_what_was_decided_and_how_much_was_not():
    claims = [claim("cannot tell", None, None, "too few"), claim(), claim("does not hold"), claim()]
    found = lead(claims)
    assert found.startswith("“It <knows> more” holds: 0.265 [0.190, 0.339] over 12 pairs.")
    assert found.endswith("Of 4 claims, 2 hold, 1 does not hold and 1 cannot be told.")
    assert lead([claims[0]]) == "The claim cannot be told."


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_the_page_of_committed_results_leads_with_what_was_found(path, tmp_path):
    result = json.loads(path.read_text())
    write_study_report([StudyPage(result, [], [])], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.index('class="found"') < page.index('class="data verdicts"')
    drawn = [one for one in result["claims"] if one.get("interval") and set(one["interval"]) != {None}]
    assert page.count("<svg") == len(drawn)
