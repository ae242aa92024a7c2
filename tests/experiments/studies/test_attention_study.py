"""What the attention study concludes from runs whose signatures are known."""

import numpy as np
import pandas as pd
import pytest

from moefacts.analysis.attention_figures import PANELS
from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.attention import END, LAST, START, STUDY, UNTRAINED, examine
from tests.experiments.studies.made_up import BASELINE, made_up_run

STARTS, LEAVES = 80, 400
SHOWN = {  # signature -> layer -> (step, value), linear in between, as the study describes
    "name_to_name": {0: [(0, 0.3), (80, 0.7), (600, 0.7)], 1: [(0, 0.3), (600, 0.3)]},
    "attribute_to_name": {0: [(0, 0.3), (600, 0.3)], 1: [(0, 0.3), (80, 0.2), (400, 0.5), (600, 0.6)]},
    "attribute_to_text": {0: [(0, 0.5), (600, 0.5)], 1: [(0, 0.5), (600, 0.5)]},
    "name_entropy": {0: [(0, 0.9), (600, 0.9)], 1: [(0, 0.9), (600, 0.9)]},
    "attribute_entropy": {0: [(0, 0.9), (80, 0.8), (400, 0.6), (600, 0.5)], 1: [(0, 0.9), (600, 0.9)]},
}
REFERENCES = dict(zip(PANELS, (0.33, 0.31, 0.49, 1, 1), strict=True))


def probed_runs(curves, noise=0.01, leaves=LEAVES, last=700, extra=None):
    random = np.random.default_rng(0)
    runs = []
    for grid_run in STUDY.grids["laptop"]:
        run = made_up_run(grid_run, leaves, start=STARTS, last=last, extra=extra)
        steps = np.arange(0, 601, 20)
        rows = [
            (step, layer, name, value + noise * random.standard_normal(), REFERENCES[name])
            for name, layers in curves.items()
            for layer, points in layers.items()
            for step, value in zip(steps, np.interp(steps, *zip(*points, strict=True)), strict=True)
        ]
        run.record.__dict__["attention"] = pd.DataFrame(
            rows, columns=["step", "layer", "signature", "value", "reference"]
        )
        runs.append(run)
    return runs


def verdicts(runs):
    findings = examine(runs)
    return [claim.decide(findings.evidence).answer for claim in STUDY.claims["laptop"]]


def test_what_the_study_describes_holds(tmp_path):
    runs = probed_runs(SHOWN)
    assert verdicts(runs) == [HOLDS] * 4
    findings = examine(runs)
    assert [drawing.name for drawing in draw_study_figures(findings.figures, tmp_path)] == ["attention"]
    values = dict(
        zip((UNTRAINED, START, END, LAST), findings.values["signatures"]["attribute_to_name/layer_2"], strict=True)
    )
    expected = {UNTRAINED: 0.3, START: 0.2, END: 0.5, LAST: 0.6}
    assert {moment: value["mean"] for moment, value in values.items()} == pytest.approx(expected, abs=0.02)


def test_the_loss_at_every_moment_stands_beside_the_control_and_is_not_the_plateau_s_definition_alone():
    runs = probed_runs(SHOWN, extra=lambda step: {"eval/seen/control_loss": 1.5 * BASELINE})
    table = {row[0]: row[1:] for row in examine(runs).tables[1].rows}
    untrained, start, end, last = table["attribute loss / baseline"]
    assert float(untrained.split()[0]) == pytest.approx(10 / BASELINE, abs=0.01)
    assert (start.split()[0], end.split()[0]) == ("1.1", "0.99")
    assert float(last.split()[0]) < 0.99
    assert {cell.split()[0] for cell in table["control loss / baseline"]} == {"1.5"}
    assert table["step"][0].startswith("0")
    assert 60 < float(table["step"][1].split()[0]) < 80
    uncontrolled = examine(probed_runs(SHOWN, leaves=2000, last=600)).tables[1].rows
    assert uncontrolled[0][3] == uncontrolled[2][1] == "–"


@pytest.mark.parametrize(
    ("claim", "signature", "layer", "points"),
    [
        (0, "name_to_name", 0, [(0, 0.3), (80, 0.2), (600, 0.7)]),
        (1, "attribute_to_name", 1, [(0, 0.3), (80, 0.4), (400, 0.5), (600, 0.6)]),
        (2, "attribute_to_name", 1, [(0, 0.3), (80, 0.2), (400, 0.1), (600, 0.6)]),
        (3, "attribute_entropy", 1, [(0, 0.9), (80, 0.3), (400, 0.9), (600, 0.5)]),
    ],
)
def test_each_claim_falls_alone_when_its_curve_goes_the_other_way(claim, signature, layer, points):
    curves = SHOWN | {signature: SHOWN[signature] | {layer: points}}
    expected = [HOLDS] * 4
    expected[claim] = DOES_NOT_HOLD
    assert verdicts(probed_runs(curves)) == expected


def test_seeds_that_differ_more_than_they_change_say_nothing():
    assert verdicts(probed_runs(SHOWN, noise=2.0)) == [CANNOT_TELL] * 4


def test_a_plateau_that_does_not_end_leaves_what_needs_its_end_open():
    assert verdicts(probed_runs(SHOWN, leaves=2000, last=600)) == [HOLDS, HOLDS, CANNOT_TELL, CANNOT_TELL]


def test_runs_that_cannot_be_probed_are_named_and_decide_nothing():
    runs = [made_up_run(grid_run, LEAVES, start=STARTS) for grid_run in STUDY.grids["laptop"]]
    findings = examine(runs)
    assert findings.figures == {}
    assert findings.tables[0].rows == []
    assert "Seeds 204800, 204801, 204802, 204803, 204804 have not been probed" in findings.tables[0].note
    assert verdicts(runs) == [CANNOT_TELL] * 4
