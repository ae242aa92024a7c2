"""The claims about layers, in every scenario."""

import numpy as np
import pytest

from moefacts.analysis import mechanism
from moefacts.analysis.figures import draw_study_figures
from moefacts.analysis.mechanism_tables import layer_cells, memory_cells
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.layers import EIGHT_LAYERS, FOUR, MIXTURES_STUDY, STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import made_up_run, replicate
from tests.experiments.studies.made_up_mechanism import table

# Measure -> by layer, of four layers; of eight, each value is taken twice
AS_SAID = {
    mechanism.CUT_IN_NAME: [-0.8, -0.2, -0.1, 0.0],
    mechanism.MLP_AT_NAME: [-0.1, -0.7, -0.1, 0.0],
    mechanism.CUT_TO_NAME: [0.0, -0.1, -0.3, -0.8],
    mechanism.READ_AT_NAME: [0.02, 0.6, 0.7, 0.7],
    mechanism.READ_AT_VALUE: [0.02, 0.02, 0.3, 0.9],
}
OTHERWISE = {
    mechanism.CUT_IN_NAME: [0.0, -0.1, -0.8, 0.0],
    mechanism.MLP_AT_NAME: [-0.6, -0.05, -0.6, 0.0],
    mechanism.CUT_TO_NAME: [-0.8, -0.1, 0.0, 0.0],
    mechanism.READ_AT_NAME: [0.02, 0.02, 0.03, 0.02],
    mechanism.READ_AT_VALUE: [0.5, 0.8, 0.9, 0.9],
}
LATE = OTHERWISE | {mechanism.READ_AT_NAME: [0.02, 0.02, 0.1, 0.6]}
NOWHERE = {place: [0.01, -0.01, 0.01, 0.0] for place in AS_SAID}


def runs(*shown, study=STUDY, probed=True, scatter=0.0):
    """Runs with what each of ``shown`` says, seeds in turn; ``scatter`` mixes in a random order of layers."""
    made, chance = [], np.random.default_rng(0)
    for grid_run in study.grids["laptop"]:
        run = made_up_run(grid_run, 400.0)
        if probed:
            deep = 2 if grid_run.labels["arm"] == EIGHT_LAYERS else 1
            which = shown[replicate(grid_run) % len(shown)]
            values = {place: np.repeat(one, deep) for place, one in which.items()}
            moved = {place: one * (1 + scatter * chance.uniform(-1, 1, len(one))) for place, one in values.items()}
            run.record.__dict__["mechanism"] = table(moved, 4 * deep)
        made.append(run)
    return made


def cases(study, every):
    """The cases of the claims ``every`` of a study of layers."""
    by_kind = [every[number::5] for number in range(5)]
    lost, enriched, before = [*by_kind[0], *by_kind[1], *by_kind[2]], by_kind[3], by_kind[4]
    return [
        Case(HOLDS, lambda: runs(AS_SAID, study=study, scatter=0.05), every),
        Case(DOES_NOT_HOLD, lambda: runs(OTHERWISE, study=study), [*lost, *enriched]),
        Case(DOES_NOT_HOLD, lambda: runs(LATE, study=study), before),
        Case(TOO_SHORT, lambda: runs(study=study, probed=False), [*lost, *enriched], "nothing was probed"),
        Case(TOO_SHORT, lambda: runs(NOWHERE, study=study), before, "by chance"),
        Case(TOO_NOISY, lambda: runs(AS_SAID, OTHERWISE, study=study), [*lost, *enriched]),
        Case(TOO_NOISY, lambda: runs(AS_SAID, LATE, study=study), before),
    ]


CASES = cases(STUDY, texts(STUDY))


@parametrized([*CASES])
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


@pytest.mark.parametrize("study", [STUDY, MIXTURES_STUDY])
def test_every_arm_has_its_tables_and_figures(study, tmp_path, quick_figures):
    findings = study.examine(runs(AS_SAID, study=study))
    arms = {grid_run.labels["arm"] for grid_run in study.grids["laptop"]}
    only = "seen people, step 600 (the plateau's start and end and the last checkpoint)"  # no other was probed
    measured = (only, f"{only}, values permuted over people (control)")
    expected = {f"Layer by layer: {arm}, {what}" for arm in arms for what in measured}
    assert {table.title for table in findings.tables} == expected
    first = findings.tables[0]
    assert first.rows[0][1:3] == ["−80 ± 0%", "−10 ± 0%"]
    assert len(draw_study_figures(findings.figures, tmp_path)) == 2 * len(arms)


def probed_at(*steps, lost, leaves):
    """A run that was probed at these steps, in whose last one so much is lost without attention inside the name."""
    run = made_up_run(STUDY.grids["laptop"][0], leaves, last=700)
    shown = {mechanism.CUT_IN_NAME: lambda step: [-lost if step == steps[-1] else 0.0, 0.0]}
    run.record.__dict__["mechanism"] = table(shown, 2, steps)
    return run.record


def test_moments_of_seeds_are_compared_with_the_same_moments_of_others():
    """A seed without a plateau's end has fewer checkpoints; its last one was compared with the others' second."""
    run = probed_at(50, 400, 600, lost=0.4, leaves=400.0)
    main, control, start = layer_cells([run, probed_at(60, 700, lost=0.6, leaves=4000.0)])
    assert main.title == "seen people, steps 600 to 700, by seed"
    assert main.rows[0][1] == "−50%"
    assert "control" in control.title
    assert start.title == "seen people, steps 50 to 60, by seed (the plateau's start)"
    alike = layer_cells([run, probed_at(50, 410, 610, lost=0.6, leaves=410.0)])
    assert [cells.rows[0][1] for cells in alike] == ["−50%", "−50%", "0%", "0%"]
    assert [cells.title for cells in alike[2:]] == [
        "seen people, step 50 (the plateau's start)",
        "seen people, steps 400 to 410, by seed (the plateau's end)",
    ]


def test_moments_that_share_a_checkpoint_have_one_table_that_says_so():
    *_, together = layer_cells([probed_at(200, 700, lost=0.4, leaves=400.0)])
    assert together.title == "seen people, step 200 (the plateau's start and end)"


def test_what_is_read_by_chance_stands_beside_what_is_read():
    run = made_up_run(STUDY.grids["laptop"][0], 400.0)
    run.record.__dict__["mechanism"] = table({mechanism.READ_AT_NAME: [0.5, 0.25]}, 2, permuted=0.02)
    main, control = layer_cells([run.record])
    place = list(main.columns).index("value read at the name")
    assert main.columns[place + 1] == "read at the name by chance"
    assert [row[place : place + 2] for row in main.rows] == [["50%", "2%"], ["25%", "2%"]]
    assert "read at the name by chance" not in control.columns


def test_neurons_and_routers_have_tables_where_they_were_measured():
    run = made_up_run(STUDY.grids["laptop"][0], 400.0)
    neurons = {
        ("neurons", measure, place): [0.5, 0.75]
        for measure in ("concentration", "own values", "own values by chance")
        for place in ("name", "value")
    }
    routers = {("ablated router", "another person", place): [-0.25, -0.5] for place in ("name", "value", "everywhere")}
    run.record.__dict__["mechanism"] = table(neurons, 2)
    assert [cells.rows[1][:3] for cells in memory_cells([run.record])] == [["2", "75%", "75%"]]
    run.record.__dict__["mechanism"] = table(neurons | routers, 2)
    assert [cells.rows[0][1] for cells in memory_cells([run.record])] == ["50%", "−25%"]


def test_layers_that_cannot_matter_at_the_name_are_left_out():
    """The last layer's 0 would make early layers look important."""
    even = AS_SAID | {mechanism.CUT_IN_NAME: [-0.4, -0.4, -0.4, 0.0]}
    verdict = STUDY.claims["laptop"][0].decide(STUDY.examine(runs(even)).evidence)
    assert verdict.answer not in (HOLDS, DOES_NOT_HOLD)
    assert FOUR in STUDY.claims["laptop"][0].text
