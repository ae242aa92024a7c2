"""The tables, values and figures of phases and power law, cell by cell, from a few made-up numbers."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from moefacts.config.presets import compose
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies import phases, power_law
from moefacts.experiments.studies._arms import EVALUATION
from moefacts.runs import keys
from tests.experiments.studies.made_up import made_up_run
from tests.experiments.studies.reading import cells, drawn

STEPS = [0, 5000, 10000, 15000, 20000]


def finished(accuracy, seed, **measures):
    record = SimpleNamespace(seed=seed, curve={keys.ATTRIBUTE_ACCURACY: pd.Series(accuracy, index=STEPS)}.__getitem__)
    return FinishedRun({}, record, measures)


def test_the_phases_of_every_seed_are_a_row_and_their_accuracies_values():
    ended = finished(
        [0.0, 0.02, 0.04, 0.5, 1.0], 3, plateau_end_status="reached", plateau_start=4000,
        plateau_end_interpolated=12345.6, plateau_end_low=12000.0, plateau_end_high=13000.0,
        steps_to_50_accuracy=15000.0, final_attribute_accuracy=0.99,
    )  # fmt: skip
    stays = finished(
        [0.0, 0.0, 0.1, 0.1, 0.2], 7, plateau_end_status="not reached", plateau_start=5000,
        plateau_end_interpolated=None, plateau_end_low=None, plateau_end_high=None,
        steps_to_50_accuracy=None, final_attribute_accuracy=0.2,
    )  # fmt: skip
    findings = phases.examine([ended, stays])
    (table,) = findings.tables
    no = "not reached"
    assert cells(table) == [
        {"seed": "3", "plateau end": "reached", "plateau start": "4,000", "plateau end (step)": "12,346",
         "low": "12,000", "high": "13,000", "50% known": "15,000", "final accuracy": "0.99"},
        {"seed": "7", "plateau end": no, "plateau start": "5,000", "plateau end (step)": no, "low": no, "high": no,
         "50% known": no, "final accuracy": "0.2"},
    ]  # fmt: skip
    assert findings.values["accuracy_on_plateau"] == [pytest.approx(0.03), None]
    at = findings.values["accuracy_at"]
    assert list(at) == list(phases.PUBLISHED_ACCURACY)
    assert at[3000] == pytest.approx([0.012, 0.0])
    assert at[14000] == pytest.approx([0.408, 0.1])
    assert findings.evidence == [ended, stays]


def test_the_curves_of_all_seeds_are_drawn():
    runs = [
        made_up_run(run, leaves, last=900)
        for run, leaves in zip(phases.STUDY.grids["laptop"][:2], (250, 400), strict=True)
    ]
    figures = phases.examine(runs).figures
    for name, measure in (("attribute_loss", "attribute_loss"), ("attribute_accuracy", "attribute_accuracy"), ("seen_and_unseen_loss", "attribute_loss")):  # fmt: skip
        ((label, lines),) = drawn(figures[name][1]()).items()
        assert label.startswith(measure.replace("_", " "))
        for run in runs:
            for cohort in ("seen", "unseen") if name == "seen_and_unseen_loss" else ("seen",):
                assert any(np.array_equal(line, run.record.curve(measure, cohort)) for line in lines)


def power_run(size, exponent, end, losses, budgets=(5000, 10000), seed=0):
    labels = {"arm": f"{exponent}", "size": size, "exponent": exponent, "budgets": budgets, "ends": True}
    curve = {keys.ATTRIBUTE_LOSS: pd.Series(losses, index=STEPS)}.__getitem__
    record = SimpleNamespace(seed=seed, curve=curve, baseline=9.0)
    status = "reached" if end else "not reached"
    return FinishedRun(labels, record, {"plateau_end_interpolated": end, "plateau_end_status": status})


POWER_RUNS = [
    power_run(1000, 0.0, 1500.6, (9.0, 5.0, 2.0, 2.0, 2.0)), power_run(1000, 0.0, None, (9.0, 5.0, 3.0, 2.0, 2.0), seed=1),
    power_run(1000, 0.6, 99.6, (9.0, 4.0, 4.0, 2.0, 2.0)),
    power_run(2000, 0.0, 2500.0, (9.0, 5.0, 3.0, 2.0, 1.0), budgets=(10000, 20000)),
    power_run(2000, 0.6, 2400.0, (9.0, 5.0, 3.5, 2.0, 0.5), budgets=(10000, 20000)),
]  # fmt: skip


def test_uneven_distributions_have_a_row_for_every_size_and_exponent():
    findings = power_law.examine(POWER_RUNS)
    (table,) = findings.tables
    columns = ["plateau end, each seed (steps)", *(f"loss after {b} steps" for b in ("5,000", "10,000", "20,000"))]
    assert table.columns == ["people", "α", *columns]
    found = {(row["people"], row["α"]): [row[column] for column in columns] for row in cells(table)}
    assert found == {
        ("1,000", "0"): ["1,501, not reached", "5, 5", "2, 3", "–"],
        ("1,000", "0.6"): ["100", "4", "4", "–"],
        ("2,000", "0"): ["2,500", "–", "3", "1"],
        ("2,000", "0.6"): ["2,400", "–", "3.5", "0.5"],
    }
    best = {(row["size"], row["steps"]): row["exponent"] for row in findings.values["best_exponent"]}
    assert best == {
        (1000, 5000): 0.6, (1000, 10000): 0.0, (1000, 20000): None,
        (2000, 5000): None, (2000, 10000): 0.0, (2000, 20000): 0.6,
    }  # fmt: skip


def test_plateau_ends_and_losses_are_drawn_against_the_exponent():
    figures = power_law.examine(POWER_RUNS).figures
    assert list(figures) == ["exponents"]  # the name of its files
    figure = figures["exponents"][1]()
    assert {axes.get_title() for axes in figure.axes} == {""}
    assert {axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()} == {"exponent α"}
    assert {axes.get_xscale() for axes in figure.axes} == {"linear"}
    assert {text.get_text() for text in (figure.legends or [figure.axes[0].get_legend()])[0].get_texts()} == {
        "1,000 people",
        "2,000 people",
    }
    panels = drawn(figure)
    assert set(panels) == {
        "plateau end (steps)",
        *(f"loss after {b} steps (nats)" for b in ("5,000", "10,000", "20,000")),
    }
    assert {value for line in panels["loss after 20,000 steps (nats)"] for value in line} == {1.0, 0.5}
    assert {2500.0, 2400.0, 99.6} <= {value for line in panels["plateau end (steps)"] for value in line}


def test_the_grids_of_the_power_law_have_every_exponent_and_one_length_of_run_for_plateau_ends():
    for scale, grid in power_law.STUDY.grids.items():
        assert {run.labels["exponent"] for run in grid} == {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}
        for run in grid:
            assert run.labels["ends"] is (scale == "laptop" or run.labels["budgets"] == (16000,))


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_a_run_of_the_power_law_is_what_its_labels_say_and_lasts_for_its_longest_budget(scale):
    runs = power_law._runs(scale, 3000, (10, 40, 70), 2, False)
    settings = [compose([f"scale={scale}", *run.overrides]) for run in runs]
    assert [(run.labels["exponent"], one.seed) for run, one in zip(runs, settings, strict=True)] == [
        (exponent, seed) for exponent in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0) for seed in seeds_for(3000, 2)
    ]
    usual = compose([f"scale={scale}", *EVALUATION[scale]]).evaluation
    for run, config in zip(runs, settings, strict=True):
        exponent = run.labels["exponent"]
        assert (config.sampling.kind, config.sampling.exponent) == ("power_law", exponent)
        assert (config.population.size, config.training.steps, config.evaluation) == (3000, 70, usual)
        assert config.training.batch_size == (laptop.BATCH if scale == "laptop" else 128)
        assert run.labels == {
            "arm": f"{exponent}", "size": 3000, "exponent": exponent, "budgets": (10, 40, 70), "ends": False,
        }  # fmt: skip
