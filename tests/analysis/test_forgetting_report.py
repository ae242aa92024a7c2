"""The report's section on fine-tuning says what the measures say, for one run, several seeds and several configurations."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from moefacts.analysis.figures import attribute_accuracy
from moefacts.analysis.fine_tuning_tables import probe_cells
from moefacts.analysis.forgetting_figures import forgetting_figures, old_against_new, over_steps
from moefacts.analysis.forgetting_tables import forgetting_sentences, forgetting_table
from moefacts.analysis.groups import Group
from moefacts.analysis.report import write_report
from moefacts.analysis.summary import as_json, fine_tuned
from moefacts.runs import tables
from tests.analysis.fine_tuned import fine_tuned as made_up

STEPS = [0, 1, 2, 5, 10, 20, 40]
NEW = [0.0, 0.0, 0.1, 0.2, 0.5, 0.8, 0.92]
COLLAPSE = [0.96, 0.9, 0.3, 0.2, 0.4, 0.7, 0.6]


def run(seed=0, old=COLLAPSE, new=NEW, path="nowhere", **options):
    made = made_up(STEPS, new, seen=old, **options)
    return replace(made, settings=replace(made.settings, seed=seed), path=made.path / path)


def cells(groups, column=0):
    _, rows = forgetting_table(groups)
    return {key: values[column] for key, values, _ in rows}


def test_the_sentence_says_what_was_kept_at_the_highest_level_that_was_reached():
    (text,) = forgetting_sentences(Group("", [run()]))
    step, kept = 20 + 20 * (0.9 - 0.8) / 0.12, 0.7 - 0.1 * (0.9 - 0.8) / 0.12
    assert text == (
        f"When 90% of the learned people's values were known (step {step:.4g}), {100 * kept:.1f}% of those of the cohort "
        "seen were, against 96.0% before fine-tuning; the trough was 20.0% at step 5."
    )


def test_the_sentence_admits_what_was_not_reached():
    (text,) = forgetting_sentences(Group("", [run(new=[0.0] * 6 + [0.3], old=[0.9] * 7)]))
    assert text.startswith(
        "The learned people's values did not come to be half known; at the end (step 40) 30.0% of them"
    )
    assert "no fall beyond the error" in text
    (text,) = forgetting_sentences(Group("", [run(), run(1, new=[0.0] * 6 + [0.6])]))
    assert text.startswith("When 50% of")
    (text,) = forgetting_sentences(Group("", [run(), run(1, old=[0.9] * 7)]))
    assert text.endswith("at step 5 in 1 of 2 runs.")
    (text,) = forgetting_sentences(Group("", [run(old=[0.96, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4])]))
    assert text.endswith("it did not recover from its lowest, 40.0% at step 40.")


def test_cells_give_numbers_or_the_reason_why_there_is_none():
    found = cells([Group("", [run()])])
    assert found["trough_status"] == "recovers"
    assert (found["trough_step"], found["accuracy_at_trough"], found["recovery"]) == ("5", "0.2", "0.5")
    assert found["steps_to_99_new_accuracy"] == found["accuracy_when_new_99"] == "not reached"
    flat = cells([Group("", [run(old=[0.9] * 7)])])
    assert flat["trough_status"] == flat["trough_step"] == flat["erosion"] == flat["retention_at_trough"] == "no fall"
    mixed = cells([Group("", [run(), run(1), run(2), run(3, old=[0.9] * 7)])])
    assert mixed["trough_status"] == "recovers in 3 of 4, no fall in 1 of 4"
    assert mixed["trough_step"] == "5 (all equal) (1 of 4 no fall)"
    assert "±" in mixed["accuracy_at_end"]
    ignorant = cells([Group("", [run(old=[0.1] * 7, losses=[5.0] * 7)])])
    assert ignorant["retention_at_end"] == "not defined"


def test_columns_are_groups_and_old_cohorts():
    cohorts = "population.cohorts={A: {stop: 24}}"
    several = run(overrides=[cohorts], A=[0.9] * 7)
    assert forgetting_table([Group("", [several])])[0] == ["A", "seen"]
    assert forgetting_table([Group("x=1", [run()]), Group("x=2", [several])])[0] == ["x=1, seen", "x=2, A", "x=2, seen"]


def test_runs_from_fresh_weights_are_left_out():
    plain = run()
    plain.settings.init = replace(plain.settings.init, run=None)
    groups = [Group("plain", [plain]), Group("tuned", [run()])]
    assert fine_tuned(groups) == groups[1:]
    assert forgetting_table(groups)[0] == ["tuned, seen"]
    assert forgetting_table(groups[:1]) == ([], [])
    assert "fine_tuning" not in as_json(groups[:1])


def test_json_has_the_measures_of_runs_and_of_groups():
    found = as_json([Group("", [run(), run(1)])])
    assert found["runs"][0]["fine_tuning"]["old"]["seen"]["trough_step"] == 5
    assert found["runs"][0]["fine_tuning"]["steps_to_50_new_accuracy"] == 10
    assert found["groups"][0]["fine_tuning"]["seen"]["recovery"]["mean"] == pytest.approx(0.5)
    json.dumps(found)


def test_the_page_has_a_section_of_its_own_for_fine_tuned_runs_only(tmp_path):
    write_report([Group("", [run()])], [], tmp_path / "tuned.html", None)
    page = (tmp_path / "tuned.html").read_text()
    assert "what became of old people" in page
    assert "the trough was 20.0% at step 5." in page
    plain = run()
    plain.settings.init = replace(plain.settings.init, run=None)
    write_report([Group("", [plain])], [], tmp_path / "plain.html", None)
    assert "what became of old people" not in (tmp_path / "plain.html").read_text()


def test_curves_are_drawn_over_steps_and_against_each_other():
    groups = [Group("", [run()])]
    axes = over_steps(groups).axes[0]
    old, trough, new = axes.lines
    assert list(old.get_ydata()) == COLLAPSE
    assert (list(trough.get_xdata()), list(trough.get_ydata())) == ([5], [0.2])
    assert list(new.get_ydata()) == NEW
    assert axes.get_xscale() == "symlog"
    levels, path = old_against_new(groups).axes[0].lines[:3], old_against_new(groups).axes[0].lines[3]
    assert [line.get_xdata()[0] for line in levels] == [0.5, 0.9, 0.99]
    assert (list(path.get_xdata()), list(path.get_ydata())) == (NEW, COLLAPSE)
    plt.close("all")


def test_several_groups_are_labelled_by_group():
    groups = [Group("x=1", [run(), run(1)]), Group("x=2", [run(2)])]
    assert set(forgetting_figures(groups)) == {"forgetting_over_steps", "forgetting_old_against_new"}
    for _, draw in forgetting_figures(groups).values():
        (legend,) = draw().legends
        assert {"x=1", "x=2"} <= {text.get_text() for text in legend.get_texts()}
    plt.close("all")


def test_tables_of_probes_become_cells(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "probes").mkdir()
    base = {"step": 5, "cohort": "seen"}
    shift = dict.fromkeys(tables.SHIFT.columns, 0.5) | base | {"tested": "seen", "people": 9, "halves": 0}
    shift |= {"own_half": np.nan, "own_half_before": np.nan}
    tables.SHIFT.write(
        tmp_path / "here", pd.DataFrame([shift | {"attribute": a, "accuracy": x} for a, x in (("a", 0.2), ("b", 0.6))])
    )
    known = {"attribute_accuracy": 0.25, "attribute_loss": 1.0}
    restored = [base | known | {"group": group, "relative_change": 0.1} for group in ("none", "all", "mlp")]
    tables.RESTORED.write(tmp_path / "here", pd.DataFrame(restored))
    method = base | known | {"method": "random_direction", "amount": 1.0, "estimated_on": ""}
    drawn = [method | {"draw": draw, "attribute_accuracy": draw / 4} for draw in (0, 1, 2)]
    tables.CORRECTED.write(tmp_path / "here", pd.DataFrame(drawn))
    confidence = {"wrong": 3, "confidence_wrong": 0.5, "right": 0, "confidence_right": np.nan}
    tables.WRONG_ANSWERS.write(tmp_path / "here", pd.DataFrame([base | confidence, base | confidence | {"step": 7}]))
    probed = replace(run(), path=tmp_path / "here")
    by_shift, by_group, by_method = probe_cells(probed)
    assert by_shift.rows == [["5", "seen", "seen", "0.500", "0.500", "0.400", "0.500", "0.500", "0.500", "–"]]
    assert len(by_shift.columns) == len(by_shift.rows[0])
    assert by_group.rows[0] == ["nothing restored", "", "0.250"]
    assert by_group.rows[2] == ["mlp", "0.100", "0.250"]
    assert by_method.columns == ["method", "setting", "seen, step 5"]
    assert by_method.rows == [["random direction", "", "0.250"]]
    assert "forgetting_confidence" in forgetting_figures([Group("", [probed])])
    axes = forgetting_figures([Group("", [probed])])["forgetting_confidence"][1]().axes[0]
    assert list(axes.lines[0].get_ydata()) == [0.5, 0.5]
    plt.close("all")


def test_runs_that_learn_different_cohorts_are_compared_each_by_its_own():
    few = "population.cohorts={few: {part_of: new, stop: 2}}"
    other = run(overrides=[few, "sampling.cohort=few", "evaluation.cohorts=[few,seen,unseen]"], few=NEW[::-1])
    other = replace(other, records=[{k: v for k, v in r.items() if "/new/" not in k} for r in other.records])
    groups = [Group("x=1", [run()]), Group("x=2", [other])]
    curves = attribute_accuracy(groups).axes[0].lines
    assert [list(curve.get_ydata()) for curve in curves] == [NEW, NEW[::-1]]
    plt.close("all")
