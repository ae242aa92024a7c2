"""Knowledge is found where it was put, however rarely the control was evaluated."""

from dataclasses import replace
from pathlib import Path

import pytest

from moefacts.analysis.figures import draw_figures
from moefacts.analysis.groups import Group
from moefacts.analysis.knowledge import KNOWLEDGE, knowledge_by_attribute, knowledge_curve, knowledge_measures
from moefacts.analysis.phases import phase_measures
from moefacts.analysis.report import write_report
from moefacts.analysis.summary import as_json, cell, has_knowledge, knowledge_rows, summarize_group
from moefacts.runs.reader import Run, read_run
from tests.conftest import tiny_config

BASELINE, FLOOR, ERROR = 5.0, 1.07, 0.01
ATTRIBUTES = ("easy", "hard")
BASELINES = (4.0, 6.0)


def losses(step, begins, floor=FLOOR, baseline=BASELINE):
    """The loss and the control loss: a steep fall, a flat floor, and from ``begins`` knowledge and confidence."""
    first = max(0.0, 1 - step / 100) ** 4 * 2 * baseline
    knowledge = min(1.0, max(0, step - begins) / 1000)
    control = floor * baseline + first + 0.5 * knowledge * baseline
    return control - knowledge * baseline, control


def made_up(interval, interval_control, begins=400, last=1000, control=True):
    records = []
    for step in range(0, last + 1, interval):
        loss, permuted = losses(step, begins)
        record = {"step": step, "eval/seen/attribute_loss": loss, "eval/seen/attribute_accuracy": 0.0}
        record |= {"eval/seen/max_probability": 0.5, "eval/seen/entropy": 1.0}
        is_due = control and (step % interval_control == 0 or step == last)
        error = {"eval/seen/control_difference_standard_error": ERROR * BASELINE}
        record |= {"eval/seen/control_loss": permuted} | error if is_due else {}
        for attribute, baseline, shift in zip(ATTRIBUTES, BASELINES, (-100, 100), strict=True):
            loss, permuted = losses(step, begins + shift, 1.0 + baseline / 100, baseline)
            record[f"eval/seen/attribute_loss/{attribute}"] = loss
            record |= {f"eval/seen/control_loss/{attribute}": permuted} if is_due else {}
        records.append(record)
    manifest = {
        "state": "finished", "no_knowledge_baseline": BASELINE, "no_knowledge_baseline_by_attribute": BASELINES,
        "parameters": {"total": 7},
    }  # fmt: skip
    return Run(Path("nowhere"), tiny_config(), manifest, records)


def measured(run, attribute=None):
    phases = phase_measures(run)
    return knowledge_measures(run, phases["plateau_start"], phases["plateau_end_interpolated"], attribute)


@pytest.mark.parametrize("interval_control", [10, 50, 100, 200, 500, 1000])
def test_the_step_of_five_percent_is_found_however_rare_the_control_is(interval_control):
    """The losses fall steeply in the first 100 steps: interpolated there, the control would lie far above the loss."""
    found = measured(made_up(10, interval_control))
    assert found["final_knowledge"] == pytest.approx(0.6)
    if interval_control <= 200:  # as long as the control is evaluated on the plateau
        assert found["steps_to_5_knowledge"] == pytest.approx(450, abs=10 if interval_control < 200 else 20)
        assert found["plateau_floor"] == pytest.approx(FLOOR)
        assert 100 <= found["plateau_floor_step"] <= 400
    else:
        assert found["steps_to_5_knowledge"] > 50
    assert found["steps_to_5_knowledge"] <= 1000


def test_the_bounds_of_five_percent_are_the_noise_of_the_difference_over_its_slope():
    found = measured(made_up(10, 50))
    assert found["steps_to_5_knowledge_status"] == "reached"
    assert found["steps_to_5_knowledge"] == pytest.approx(450)
    bounds = [found[f"steps_to_5_knowledge_{end}"] for end in ("low", "high")]
    assert bounds == pytest.approx([450 - 1.96 * ERROR * 1000, 450 + 1.96 * ERROR * 1000])
    attribute = measured(made_up(10, 50), "easy")
    assert attribute["steps_to_5_knowledge_status"] == "reached"
    assert attribute["steps_to_5_knowledge_low"] is attribute["steps_to_5_knowledge_high"] is None


@pytest.mark.parametrize(
    ("run", "status", "reason"),
    [
        ({"begins": 2000}, "not reached", "knowledge never reached 5%"),
        ({"begins": 955}, "cannot tell", "knowledge ends within noise of 5%"),
        ({"begins": -60}, "cannot tell", "knowledge begins above 5%, or within noise of it"),
        (
            {"begins": 150, "interval": 100},
            "cannot tell",
            "evaluations are too sparse: 100 steps apart where knowledge reaches 5%",
        ),
    ],
)
def test_why_the_step_of_five_percent_cannot_be_told(run, status, reason):
    found = measured(made_up(**{"interval": 10, "interval_control": 50} | run))
    assert found["steps_to_5_knowledge_status"] == status
    assert found["steps_to_5_knowledge_reason"].startswith(reason)
    assert found["steps_to_5_knowledge_low"] is None


def test_the_end_of_the_plateau_needs_more_knowledge_the_higher_the_floor():
    """0.99 baselines lie 8% below a floor of 1.07 while the control has risen by half of what is known."""
    found = measured(made_up(10, 10))
    assert found["knowledge_at_plateau_end"] == pytest.approx((FLOOR - 0.99) / 0.5, abs=1e-6)


def test_the_curve_has_every_evaluation_from_the_plateau_on_and_only_measured_ones_before():
    run = made_up(10, 200)
    curve = knowledge_curve(run, 150.0)
    assert curve.index.tolist() == [0, *range(200, 1001, 10)]
    for step, row in curve.iterrows():
        loss, control = losses(step, 400)
        assert row["loss"] == pytest.approx(loss)
        assert row["control"] == pytest.approx(control, abs=1e-9)
        assert row["knowledge"] == pytest.approx((control - loss) / BASELINE, abs=1e-9)
    assert knowledge_curve(run, None).index.tolist() == list(range(0, 1001, 200))


def test_attributes_have_their_own_floor_over_their_own_baseline():
    run = made_up(10, 50)
    found = knowledge_by_attribute(run, phase_measures(run))
    assert [found[one]["plateau_floor"] for one in ATTRIBUTES] == pytest.approx([1.04, 1.06])
    assert [found[one]["steps_to_5_knowledge"] for one in ATTRIBUTES] == pytest.approx([350, 550])
    assert [found[one]["final_knowledge"] for one in ATTRIBUTES] == pytest.approx([0.7, 0.5])
    result = as_json([Group("all", [run])])
    assert result["knowledge_by_attribute"] == found
    assert result["steps_to_5_knowledge"] == pytest.approx(450)


def test_a_run_that_stays_on_its_plateau_has_a_floor_and_no_step_of_five_percent():
    found = measured(made_up(10, 100, begins=2000))
    assert found["final_knowledge"] == pytest.approx(0.0, abs=1e-9)
    assert found["plateau_floor"] == pytest.approx(FLOOR)
    assert (found["steps_to_5_knowledge"], found["knowledge_at_plateau_end"]) == (None, None)


def test_a_run_before_its_plateau_has_no_floor():
    found = measured(made_up(5, 10, last=30))
    assert found["final_knowledge"] == pytest.approx(0.0, abs=1e-9)
    assert (found["plateau_floor"], found["plateau_floor_step"]) == (None, None)


def test_what_was_not_recorded_is_not_measured_and_what_was_not_reached_not_reached():
    off, stays = made_up(10, 100, control=False), made_up(10, 100, begins=2000)
    assert measured(off).keys() == measured(stays).keys() > set(KNOWLEDGE)
    assert set(measured(off).values()) == {None}
    cells = []
    for run in (off, stays):
        summary = summarize_group(Group("all", [run]))
        cells.append([cell(key, summary[key], has_knowledge(summary)) for key in KNOWLEDGE])
    assert cells[0] == ["not measured"] * len(KNOWLEDGE)
    assert cells[1][KNOWLEDGE.index("steps_to_5_knowledge")] == "not reached"
    assert "not measured" not in cells[1]
    assert knowledge_rows([Group("off", [off])]) == []
    assert [row[:2] for row in knowledge_rows([Group("off", [off]), Group("on", [stays])])] == [
        ("on", "easy"),
        ("on", "hard"),
    ]
    assert as_json([Group("all", [off])])["knowledge_by_attribute"] == {}


@pytest.mark.parametrize("several", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_figure_and_the_table_are_in_the_report_of_runs_that_recorded_the_control(finished_run, tmp_path, several):
    run = read_run(finished_run)

    def recorded(begins, **settings):
        records = []
        for record in made_up(10, 50, begins).records:
            known = {key: value for key, value in record.items() if key.count("/") < 3}
            for key in ("eval/seen/attribute_loss", "eval/seen/control_loss"):
                if key in record:
                    known[key] *= run.baseline / BASELINE
                    known |= {f"{key}/{name}": known[key] for name in run.attributes}
            records.append(known)
        return replace(run, records=records, settings=replace(run.settings, **settings))

    groups = [Group("one", [recorded(400), recorded(450, seed=1)])]
    if several:
        groups += [Group("another", [recorded(600, seed=2)]), Group("unrecorded", [run])]
    drawings = draw_figures(groups, tmp_path / "figures")
    assert [drawing.name for drawing in drawings].count("floor_and_knowledge") == 1
    assert (tmp_path / "figures" / "floor_and_knowledge.png").exists()
    write_report(groups, drawings, tmp_path / "report.html", None)
    page = (tmp_path / "report.html").read_text()
    assert "Knowledge by attribute" in page
    assert "was worth 5% of the baseline from step" in page
