"""The tables, values and figures of the plateau law, cell by cell, from a few made-up numbers."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from moefacts.analysis.scaling_law import PowerLaw
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.plateau_law import plateau_law, published
from moefacts.experiments.studies.plateau_law.plateau_law_figures import SizePoint
from moefacts.experiments.studies.plateau_law.points import Evidence
from tests.experiments.studies.reading import cells, drawn


def point(size, *ends, lengths=(), why="", bits=0.25):
    return SizePoint(
        size, ends, (1.5,) * len(ends), lengths, 32, bool(ends), not why, why, bits, tuple(range(len(ends)))
    )


POINTS = [
    point(1000, 90.26, 121.0, lengths=(50.4, 60.6)),
    point(2000, 220.0, lengths=(90.0,), bits=0.5),
    point(4000, why="plateau end: not reached", bits=1.0),
    point(8000, 500.0, lengths=(300.0,), why="melts"),
]
LAW = PowerLaw(0.5, 0.8, 0.99771, (0.31, 0.72), (0.751, 0.852), (0.99, 1.0), (), 0.0123, (-0.011, 0.034), np.zeros((1, 2)))  # fmt: skip
LENGTHS = PowerLaw(0.25, 1.1, 0.98765, (0.11, 0.42), (1.051, 1.152), (0.9, 1.0), (), 0.2, (0.1, 0.3), np.zeros((1, 2)))


def evidence(law=LAW, lengths=None):
    return SimpleNamespace(points=POINTS, law=law, length_law=lengths)


def test_every_size_has_a_row_with_its_ends_exponent_and_distance_from_the_law():
    table = plateau_law._table(evidence(), {})
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
    note = plateau_law._table(evidence(), {}).note
    assert numbers(note.partition("Published")[0]) == [
        "0.5", "0.800", "0.9977", "95", "0.31", "0.72", "0.751", "0.852", "32",
    ]  # fmt: skip
    assert f"Published: {published.TEXT} steps of {published.BATCH_SIZE}, R² {published.R_SQUARED}" in note
    assert "+0.012 [-0.011, +0.034]" in note
    assert "length" not in note
    both = plateau_law._table(evidence(lengths=LENGTHS), {}).note
    assert both.startswith(note)
    assert numbers(both.removeprefix(note)) == ["0.25", "1.100", "0.9877", "0.11", "0.42", "1.051", "1.152"]


def test_without_a_fit_nothing_is_said_of_one():
    table = plateau_law._table(evidence(law=None), {})
    assert [row["against the law"] for row in cells(table)] == ["–"] * 4
    assert numbers(table.note) == []
    assert table.note


def test_with_several_rates_the_best_of_a_size_is_in_its_row():
    table = plateau_law._table(evidence(), {1000: 1e-3, 2000: 2e-3, 4000: 4e-3, 8000: 8e-3})
    assert [row["best rate"] for row in cells(table)] == ["0.001", "0.002", "0.004", "0.008"]
    assert list(table.columns)[:2] == ["people", "best rate"]


def test_the_values_have_every_size_and_both_laws():
    values = plateau_law._values(evidence(lengths=LENGTHS))
    assert {key: values[key] for key in ("a", "b", "r_squared", "bend", "a_interval", "b_interval", "bend_interval")} == {
        "a": 0.5, "b": 0.8, "r_squared": 0.99771, "bend": 0.0123,
        "a_interval": (0.31, 0.72), "b_interval": (0.751, 0.852), "bend_interval": (-0.011, 0.034),
    }  # fmt: skip
    assert values["r_squared_interval"] == (0.99, 1.0)
    assert (values["length_law"]["a"], values["length_law"]["b_interval"]) == (0.25, (1.051, 1.152))
    assert values["published"] == {"a": published.A, "b": published.B, "r_squared": published.R_SQUARED}
    first, second, third, last = values["sizes"]
    assert first == {
        "size": 1000, "plateau_ends": (90.26, 121.0), "standard_errors_of_evaluation": (1.5, 1.5),
        "plateau_lengths": (50.4, 60.6), "biographies_per_individual": pytest.approx([2.88832, 3.872]),
        "bits_per_parameter": 0.25, "inside": True, "outside_because": "", "local_exponent": None,
        "log_residual": pytest.approx(np.log(np.sqrt(90.26 * 121.0) / (0.5 * 1000**0.8))),
    }  # fmt: skip
    assert second["local_exponent"] == pytest.approx(np.log2(220 / np.sqrt(90.26 * 121.0)))
    assert (third["log_residual"], third["local_exponent"], third["outside_because"]) == (None, None, POINTS[2].why)
    assert (last["local_exponent"], last["inside"]) == (None, False)
    assert last["log_residual"] == pytest.approx(np.log(500 / (0.5 * 8000**0.8)))


def test_without_laws_their_values_are_none_and_still_there():
    values, with_law = (plateau_law._values(evidence(law)) for law in (None, LAW))
    assert values.keys() == with_law.keys()
    assert values["a"] is values["bend_interval"] is values["length_law"]["b"] is None
    assert [size["log_residual"] for size in values["sizes"]] == [None] * 4


def law_run(size, end, rate=None, training_loss=1.0):
    """A run whose plateau lasts from step 19.5 to ``end``."""
    labels = {"size": size} | ({} if rate is None else {"learning_rate": rate})
    record = SimpleNamespace(seed=0, batch_size=32, baseline=1.0, final_training_loss=training_loss)
    bounds = {"plateau_end_low": end - 1.96, "plateau_end_high": end + 1.96, "plateau_end_interpolated": float(end)}
    bounds["plateau_length"] = end - 19.5
    status = {"plateau_end_status": "reached", "plateau_end_reason": "", "parameters_total": 1000}
    return FinishedRun(labels, record, bounds | status)


SWEEP = [
    law_run(size, end + extra, rate, loss)
    for size, end, best in ((4000, 400, 0.002), (1000, 100, 0.001), (2000, 200, 0.001))
    for rate, extra, losses in ((0.002, 3, (0.5, 0.7)), (0.001, 0, (0.9, 0.2)))
    for loss in (losses if best == 0.002 else [1 - loss for loss in losses])
]


def test_a_size_counts_at_the_rate_of_the_lowest_mean_training_loss():
    """Of every rate and size there are two runs; neither the first nor the lowest of one run decides, but the mean."""
    findings = plateau_law.examine(SWEEP)
    best, losses = findings.values["best_learning_rate"], findings.values["final_training_loss"]
    means = {(size, rate): np.mean([r.record.final_training_loss for r in SWEEP if (r.labels["size"], r.labels["learning_rate"]) == (size, rate)])
             for size in (1000, 2000, 4000) for rate in (0.001, 0.002)}  # fmt: skip
    assert {(size, rate): loss for size, by in losses.items() for rate, loss in by.items()} == pytest.approx(means)
    assert [(size, list(by)) for size, by in losses.items()] == [(size, [0.001, 0.002]) for size in (1000, 2000, 4000)]
    assert best == {size: min((0.001, 0.002), key=lambda rate: means[size, rate]) for size in (1000, 2000, 4000)}
    assert set(best.values()) == {0.001, 0.002}
    assert {one.size: set(one.ends) for one in findings.evidence.points} == {
        size: {size / 10 + (3 if best[size] == 0.002 else 0)} for size in (1000, 2000, 4000)
    }
    assert [table.columns[:2] for table in findings.tables] == [["people", "best rate"], ["people", "0.001"]]


def test_the_rates_that_a_size_lacks_are_dashes():
    table = plateau_law._rates_table({1000: {0.001: 0.5}, 2000: {0.002: 0.25, 0.001: 1.0}})
    assert cells(table) == [
        {"people": "1,000", "0.001": "0.5000", "0.002": "–"},
        {"people": "2,000", "0.001": "1.0000", "0.002": "0.2500"},
    ]


def test_figures_are_those_for_which_there_are_data():
    runs = [law_run(size, size // 10) for size in (1000, 2000, 4000)]
    assert list(plateau_law.examine(runs).figures) == ["plateau_law", "encounters", "residuals", "plateau_length"]
    assert list(plateau_law.examine(runs[:2]).figures) == ["plateau_law", "encounters"]
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
