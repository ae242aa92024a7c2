"""The tables, values and figures of the plateau law, cell by cell, from a few made-up numbers."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from moefacts.analysis.law_comparison import OFFSET_POWER, POWER, FittedLaw
from moefacts.analysis.scaling_law import PowerLaw
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.plateau_law import grids, plateau_law, published, rates, tables
from moefacts.experiments.studies.plateau_law.knowledge import Knowledge
from moefacts.experiments.studies.plateau_law.plateau_law_figures import SizePoint
from moefacts.experiments.studies.plateau_law.points import Evidence
from tests.experiments.studies.reading import cells, drawn


def point(size, *ends, lengths=(), why="", bits=0.25):
    return SizePoint(
        size,
        ends,
        (1.5,) * len(ends),
        lengths,
        32,
        bool(ends),
        not why,
        why,
        bits,
        tuple(range(len(ends))),
        tuple(1e-3 * end for end in ends),
    )


POINTS = [
    point(1000, 90.26, 121.0, lengths=(50.4, 60.6)),
    point(2000, 220.0, lengths=(90.0,), bits=0.5),
    point(4000, why="plateau end: not reached", bits=1.0),
    point(8000, 500.0, lengths=(300.0,), why="melts"),
]
LAW = PowerLaw(0.5, 0.8, 0.99771, (0.31, 0.72), (0.751, 0.852), (0.99, 1.0), (), 0.0123, (-0.011, 0.034), np.zeros((1, 2)))  # fmt: skip
LENGTHS = PowerLaw(0.25, 1.1, 0.98765, (0.11, 0.42), (1.051, 1.152), (0.9, 1.0), (), 0.2, (0.1, 0.3), np.zeros((1, 2)))


LAWS = {
    POWER: FittedLaw(POWER, 0.0, 0.5, 0.8, 0.01, -30.26),
    OFFSET_POWER: FittedLaw(OFFSET_POWER, 12.34, 0.4, 0.9, 0.008, -28.1),
}


def evidence(law=LAW, lengths=None):
    measured = {"knowledge": Knowledge(()), "retention": ()}
    return SimpleNamespace(points=POINTS, law=law, length_law=lengths, law_comparison=LAWS if law else None, **measured)


def test_every_size_has_a_row_with_its_ends_exponent_and_distance_from_the_law():
    table = tables.law_table(evidence(), {})
    assert table.title
    mean = np.sqrt(90.26 * 121.0)
    off = [100 * (end / (0.5 * size**0.8) - 1) for size, end in ((1000, mean), (2000, 220.0), (8000, 500.0))]
    assert table.columns == [
        "people", "plateau end, each seed (steps)", "plateau length (steps)", "biographies per person",
        "facts (bits per parameter)", "exponent from the size before", "against the law", "in the fit",
    ]  # fmt: skip
    assert [list(row) for row in table.rows] == [
        ["1,000", "90.3, 121", "50, 61", f"{mean * 32 / 1000:.1f}", "0.25", "–", f"{off[0]:+.1f}%", "inside"],
        ["2,000", "220", "90", "3.5", "0.50", f"{np.log2(220 / mean):.2f}", f"{off[1]:+.1f}%", "inside"],
        ["4,000", "–", "–", "–", "1.00", "–", "–", "plateau end: not reached"],
        ["8,000", "500", "300", "2.0", "0.25", "–", f"{off[2]:+.1f}%", "melts"],
    ]


def numbers(text):
    return re.findall(r"[-+]?\d+(?:\.\d+)?", text)


def test_the_note_has_the_fit_with_its_intervals_and_the_published_one():
    note = tables.law_table(evidence(), {}).note
    assert numbers(note.partition("Published")[0]) == [
        "0.5", "0.800", "0.9977", "95", "0.31", "0.72", "0.751", "0.852", "32",
    ]  # fmt: skip
    assert f"Published: {published.TEXT} steps of {published.BATCH_SIZE}, R² {published.R_SQUARED}" in note
    assert "+0.012 [-0.011, +0.034]" in note
    assert "length" not in note
    both = tables.law_table(evidence(lengths=LENGTHS), {}).note
    assert both.startswith(note)
    assert numbers(both.removeprefix(note)) == ["0.25", "1.100", "0.9877", "0.11", "0.42", "1.051", "1.152"]


def test_without_a_fit_nothing_is_said_of_one():
    table = tables.law_table(evidence(law=None), {})
    assert [row["against the law"] for row in cells(table)] == ["–"] * 4
    assert numbers(table.note) == []
    assert table.note


def test_with_several_rates_the_best_of_a_size_is_in_its_row():
    table = tables.law_table(evidence(), {1000: 1e-3, 2000: 2e-3, 4000: 4e-3, 8000: 8e-3})
    assert [row["best rate"] for row in cells(table)] == ["0.001", "0.002", "0.004", "0.008"]
    assert list(table.columns)[:2] == ["people", "best rate"]


def test_the_values_have_every_size_and_both_laws():
    values = tables.law_values(evidence(lengths=LENGTHS))
    assert {key: values[key] for key in ("a", "b", "r_squared", "bend", "a_interval", "b_interval", "bend_interval")} == {
        "a": 0.5, "b": 0.8, "r_squared": 0.99771, "bend": 0.0123,
        "a_interval": (0.31, 0.72), "b_interval": (0.751, 0.852), "bend_interval": (-0.011, 0.034),
    }  # fmt: skip
    assert values["r_squared_interval"] == (0.99, 1.0)
    assert (values["length_law"]["a"], values["length_law"]["b_interval"]) == (0.25, (1.051, 1.152))
    assert values["published"] == {"a": published.A, "b": published.B, "r_squared": published.R_SQUARED}
    assert values["law_comparison"] == {POWER: vars(LAWS[POWER]), OFFSET_POWER: vars(LAWS[OFFSET_POWER])}
    first, second, third, last = values["sizes"]
    assert first == {
        "size": 1000, "plateau_ends": (90.26, 121.0), "standard_errors_of_evaluation": (1.5, 1.5),
        "plateau_lengths": (50.4, 60.6), "biographies_per_individual": pytest.approx([2.88832, 3.872]),
        "sums_of_learning_rates": pytest.approx((0.09026, 0.121)), "bits_per_parameter": 0.25, "inside": True, "outside_because": "", "local_exponent": None,
        "log_residual": pytest.approx(np.log(np.sqrt(90.26 * 121.0) / (0.5 * 1000**0.8))),
    }  # fmt: skip
    assert second["local_exponent"] == pytest.approx(np.log2(220 / np.sqrt(90.26 * 121.0)))
    assert (third["log_residual"], third["local_exponent"], third["outside_because"]) == (None, None, POINTS[2].why)
    assert (last["local_exponent"], last["inside"]) == (None, False)
    assert last["log_residual"] == pytest.approx(np.log(500 / (0.5 * 8000**0.8)))


def test_without_laws_their_values_are_none_and_still_there():
    values, with_law = (tables.law_values(evidence(law)) for law in (None, LAW))
    assert values.keys() == with_law.keys()
    assert values["a"] is values["bend_interval"] is values["length_law"]["b"] is values["law_comparison"] is None
    assert [size["log_residual"] for size in values["sizes"]] == [None] * 4


def test_the_laws_that_are_compared_have_a_row_each():
    table = tables.comparison_table(evidence())
    assert [list(row.values()) for row in cells(table)] == [
        ["c·N^b", "0", "0.5", "0.800", "0.0"],
        ["T0 + c·N^b", "12.3", "0.4", "0.900", "2.2"],
    ]


TRAINING = SimpleNamespace(schedule="constant", learning_rate=0.002, final_learning_rate=0.0, steps=9)


def law_run(size, end, training_loss=1.0, **labels):
    """A run whose plateau lasts from step 19.5 to ``end``."""
    settings = SimpleNamespace(training=TRAINING)
    record = SimpleNamespace(seed=0, batch_size=32, baseline=1.0, final_training_loss=training_loss, settings=settings)
    record.retention_at_end, record.has_curve = None, lambda measure: False
    bounds = {"plateau_end_low": end - 1.96, "plateau_end_high": end + 1.96, "plateau_end_interpolated": float(end)}
    bounds["plateau_length"] = end - 19.5
    status = {"plateau_end_status": "reached", "plateau_end_reason": "", "parameters_total": 1000}
    return FinishedRun({"size": size} | labels, record, bounds | status)


def test_the_losses_of_a_sweep_are_in_order_and_the_lowest_gives_the_rate_or_the_smallest_of_equal_ones():
    made = {4000: {0.002: 0.5, 0.001: 0.7}, 1000: {0.002: 0.9, 0.001: 0.2}, 2000: {0.002: 0.3, 0.001: 0.3}}
    runs = [
        law_run(size, 100, loss, part=grids.CHOICE, learning_rate=rate)
        for size, by_rate in made.items()
        for rate, loss in by_rate.items()
    ]
    losses = rates.losses_by_rate([law_run(8000, 100, 0.1, part=grids.BEST), *runs])
    assert [(size, list(by)) for size, by in losses.items()] == [(size, [0.001, 0.002]) for size in (1000, 2000, 4000)]
    assert losses == made
    assert rates.chosen_rates(losses) == {1000: 0.001, 2000: 0.001, 4000: 0.002}


def test_the_rates_that_a_size_lacks_are_dashes_and_nothing_is_chosen_there():
    table = rates.rates_table({1000: {0.001: 0.5}, 2000: {0.002: 0.25, 0.001: 1.0, 0.004: 0.3}})
    assert cells(table) == [
        {"people": "1,000", "0.001": "0.5000", "0.002": "–", "0.004": "–", "chosen": "–"},
        {"people": "2,000", "0.001": "1.0000", "0.002": "0.2500", "0.004": "0.3000", "chosen": "0.002"},
    ]


def test_figures_are_those_for_which_there_are_data():
    runs = [law_run(size, size // 10) for size in (1000, 2000, 4000)]
    assert list(plateau_law.examine(runs).figures) == [
        "plateau_law",
        "encounters",
        "rate_sums",
        "residuals",
        "plateau_length",
    ]
    assert list(plateau_law.examine(runs[:2]).figures) == ["plateau_law", "encounters", "rate_sums"]
    never = FinishedRun({"size": 1000}, runs[0].record, runs[0].measures | {"plateau_end_status": "not reached"})
    assert list(plateau_law.examine([never]).figures) == []
    assert plateau_law.examine([]).figures == {}
    values = plateau_law.examine(runs).values
    assert not {"best_learning_rate", "final_training_loss"} & values.keys()  # there was one rate
    assert len(plateau_law.examine(runs).tables) == 1


def test_the_figures_show_the_points_and_their_law():
    """Each has, among its lines, the dots of every size and the law through them, which here are the same numbers."""
    runs = [law_run(size, size // 10) for size in (1000, 2000, 4000)]
    findings = plateau_law.examine(runs)
    assert isinstance(findings.evidence, Evidence)
    panels = {name: drawn(draw()) for name, (_, draw) in findings.figures.items()}
    ends = [100.0, 200.0, 400.0]
    sizes = np.array([1000, 2000, 4000])
    study = published.steps(sizes)
    for name, values in (
        ("plateau_law", study * 128 / 32),  # as many steps of 32 as it takes to see as many biographies
        ("encounters", study * 128 / sizes),
        ("rate_sums", published.rate_sums(sizes)),
    ):
        ((_, lines),) = panels[name].items()
        assert any(len(line) == 3 and np.allclose(line, values) for line in lines)
    ((_, sums),) = panels["rate_sums"].items()
    assert all(any(np.allclose(line, [0.002 * end]) for line in sums) for end in ends)
    lengths = [point.lengths[0] for point in findings.evidence.points]
    for name, values, law in (
        ("plateau_law", ends, ends),
        ("encounters", [3.2] * 3, [3.2] * 3),
        ("plateau_length", lengths, findings.evidence.length_law.at(np.array([1000, 2000, 4000]))),
    ):
        ((_, lines),) = panels[name].items()
        assert any(np.allclose(line, law) for line in lines if len(line) == 3)
        for value in values:
            assert any(np.allclose(line, [value]) for line in lines if len(line) == 1)
    ((_, lines),) = panels["residuals"].items()
    assert np.concatenate(lines) == pytest.approx(0.0, abs=1e-6)  # exactly a tenth of the people
