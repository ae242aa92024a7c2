"""The exponents, curves, tables and figures of law-capacity, from a few made-up numbers."""

import numpy as np
import pytest

from moefacts.experiments.studies.law_capacity import claims, collapse
from moefacts.experiments.studies.law_capacity.grid import ARMS, NARROW, NARROW_EXPERTS, WIDE
from moefacts.experiments.studies.law_capacity.law_capacity import examine
from moefacts.experiments.studies.law_capacity.points import ArmPoint, Evidence, Step
from moefacts.experiments.studies.plateau_law.plateau_law_figures import SizePoint
from tests.experiments.studies.capacity import ACTIVE, TOTALS, by_active, by_total, runs
from tests.experiments.studies.reading import cells


def point(arm, size, ends, active=1000, bits=0.25, why="", num_runs=None):
    seeds = tuple(range(100 * size, 100 * size + len(ends)))
    at = SizePoint(size, tuple(ends), (1.0,) * len(ends), (), 32, not why, not why, why, bits, seeds)
    return ArmPoint(arm, at, 1000, active, num_runs or len(ends))


LOW = point("one", 512, (90.0, 100.0, 110.0), active=250, bits=0.1)
HIGH = point("one", 1024, (180.0, 200.0, 220.0), active=250, bits=0.4)


def test_a_step_has_the_exponent_between_its_sizes_and_lies_halfway_between_them():
    step = Step(LOW, HIGH)
    assert step.exponent == pytest.approx(1.0)
    assert np.exp(step.log_bits) == pytest.approx(0.2)
    assert np.exp(step.log_bits_active) == pytest.approx(0.8)
    evidence = Evidence([LOW, HIGH])
    deviation = np.log((90.0, 100.0, 110.0)).std(ddof=1)  # the same at both
    error = np.sqrt(2 / 3) * deviation / np.log(2)
    assert evidence.exponent_half(step) == pytest.approx(2.776 * error, rel=1e-3)  # t with 4 degrees of freedom


@pytest.mark.parametrize(
    ("high", "why"),
    [
        (point("one", 1024, (180.0, 200.0)), "only 2 of 3 seeds"),
        (point("one", 1024, (180.0, 200.0), why="not reached in 1 of 3", num_runs=3), "not reached in 1 of 3"),
    ],
)
def test_a_point_with_too_few_seeds_or_an_end_that_was_not_reached_is_in_no_step(high, why):
    evidence = Evidence([LOW, high])
    assert high.left_out == why
    assert evidence.used == [LOW]
    assert evidence.steps == []


def test_no_step_leads_over_a_size_that_is_left_out_or_from_arm_to_arm():
    middle, last = point("one", 1024, (1.0,)), point("one", 2048, (4.0, 4.0, 4.0))
    other = point("two", 4096, (9.0, 9.0, 9.0))
    assert Evidence([LOW, middle, last, other]).steps == []


def test_the_nearest_rising_curve_joins_neighbours_that_fall_and_points_of_equal_x():
    x, y = collapse.rising_curve(np.array([3.0, 1.0, 1.0, 2.0, 4.0]), np.array([2.0, 0.0, 1.0, 4.0, 5.0]))
    assert list(x) == [1, 2, 3, 4]
    assert list(y) == pytest.approx([0.5, 3, 3, 5])


def test_a_replicate_draws_the_same_seeds_for_all_arms_and_scatters_like_a_mean_of_seeds():
    twin = point("two", 512, (180.0, 200.0, 220.0))
    ends = collapse._moves([LOW, twin, HIGH])
    assert ends.shape == (2001, 3)
    assert ends[0] == pytest.approx(np.zeros(3))
    assert ends[:, 1] == pytest.approx(ends[:, 0])
    assert ends[:, 2] != pytest.approx(ends[:, 0])  # another size has seeds of its own
    assert ends[1:, 0].std() == pytest.approx(np.log((90.0, 100.0, 110.0)).std(ddof=1) / np.sqrt(3), rel=0.05)


def test_the_scatter_is_small_about_the_curve_over_what_sets_the_exponents():
    for exponent, sign in ((by_total, -1), (by_active, 1)):
        found = collapse.compare_collapse(examine(runs(exponent, scatter=0.02)).evidence.steps)
        assert np.sign(found.mean) == sign
        assert min(np.abs(found.interval)) > 1
        assert min(found.by_total, found.by_active) < 0.03 < 0.1 < max(found.by_total, found.by_active)


def test_a_difference_of_exponents_is_the_slope_of_the_log_ratio_over_pairs():
    def power(arm, b, sizes, scatter):
        return [point(arm, n, [n**b * np.exp(scatter * s) for s in (-1, 0, 1)]) for n in sizes]

    sizes = (512, 1024, 2048, 4096)
    points = [*power("one", 0.9, sizes, 0.1), *power("two", 0.8, sizes, 0.1), *power("few", 0.8, sizes[1:], 0.1)]
    found = claims.exponent_difference(Evidence(points), "one", "two")
    assert (found.mean, found.count, found.sizes) == (pytest.approx(0.1), 12, 4)
    assert found.interval == pytest.approx((0.1, 0.1))  # the seeds' common deviations cancel
    assert claims.exponent_difference(Evidence(points), "one", "few") is None
    noisy = [*power("one", 0.9, sizes, 0.1), *power("two", 0.8, sizes, -0.1)]
    low, high = claims.exponent_difference(Evidence(noisy), "one", "two").interval
    error = np.sqrt(8 * 0.2**2 / 10 / (3 * 5 * np.log(2) ** 2))
    assert (low, high) == pytest.approx((0.1 - 2.228 * error, 0.1 + 2.228 * error), rel=1e-3)


def test_every_arm_and_size_has_a_row_with_what_was_measured():
    findings = examine(runs(by_total))
    laws, points = map(cells, findings.tables)
    assert [row["arm"] for row in laws] == list(TOTALS)
    wide = next(row for row in laws if row["arm"] == WIDE.name)
    assert (wide["learning rate"], wide["total parameters"]) == ("0.001", "2,111,232")
    assert wide["facts (bits per total parameter)"] == "0.01 to 0.17"
    assert wide["exponent"].startswith("1.00")  # the mean of by_total over the four steps
    rows = [row for row in points if row["arm"] == NARROW_EXPERTS.name]
    assert [row["people"] for row in rows] == ["512", "1,024", "2,048", "4,096", "8,192"]
    ratio = TOTALS[NARROW_EXPERTS.name] / ACTIVE[NARROW_EXPERTS.name]
    for row in rows:
        assert float(row["per active parameter"]) == pytest.approx(ratio * float(row["bits per total parameter"]), rel=0.01)  # fmt: skip
    expected = [f"{by_total(NARROW_EXPERTS.name, 2**k * np.sqrt(2)):.2f}" for k in range(9, 13)]
    assert [row["exponent from the size before"].partition(" ")[0] for row in rows] == ["–", *expected]
    assert {row["in the claims"] for row in points} == {"used"}
    assert float(rows[0]["biographies per person"]) == pytest.approx(25.0, rel=0.02)
    assert findings.values["laws"][WIDE.name]["b"] == pytest.approx(1.0, abs=0.01)
    assert len(findings.values["exponents"]) == 5 * 4 + 2 * 2


def test_incomplete_runs_still_make_tables_and_say_why_they_are_left_out():
    findings = examine(runs(by_total, seeds=1, arms=(NARROW.name,)))
    laws, points = map(cells, findings.tables)
    assert [(row["exponent"], row["bend"]) for row in laws] == [("–", "–")]
    assert {row["in the claims"] for row in points} == {"only 1 of 3 seeds"}
    assert list(findings.figures) == ["encounters"]
    assert examine([]).figures == {}
    stopped = examine(runs(by_total, last=100, arms=(NARROW.name,)))
    assert all("not reached in 3 of 3 runs" in row["in the claims"] for row in cells(stopped.tables[1]))


def test_every_figure_tells_arms_apart_by_marker_and_colour_and_shows_every_point():
    figures = {name: draw() for name, (_, draw) in examine(runs(by_active)).figures.items()}
    assert list(figures) == ["exponents", "encounters"]
    for figure in figures.values():
        left = figure.axes[0]
        lines = [line for line in left.get_lines() if line.get_marker() not in (None, "None", ".", "_")]
        assert len(lines) == len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == len(ARMS)  # fmt: skip
        shown = {text.get_text() for text in figure.legends[0].get_texts()}
        assert set(TOTALS) <= shown
    left, right = figures["exponents"].axes
    for axes in (left, right):
        drawn = sorted(y for line in axes.get_lines() if line.get_marker() in "os^DvPX" for y in line.get_ydata())
        assert len(drawn) == 24
    by_arm = dict(zip(TOTALS, (line for line in right.get_lines() if line.get_marker() in "os^DvPX"), strict=True))
    (x, y), (x_wide, y_wide) = (by_arm[arm.name].get_data() for arm in (NARROW_EXPERTS, WIDE))
    assert y - y_wide == pytest.approx(0.2 * np.log2(x / x_wide), abs=0.05)  # one curve over bits per active parameter
